package main

import "testing"

func TestUnfoldLists(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ source, want string }{
		"a list of messages": {
			`[(predefined) = {cel: [{id: "a"}, {id: "b"}], x: 1}]`, `[(predefined) = {cel: {id: "a"}, cel: {id: "b"}, x: 1}]`,
		},
		"a list in a list":           {`o = {a: [{b: [{c: 1}, {c: 2}]}, {}]}`, `o = {a: {b: {c: 1}, b: {c: 2}}, a: {}}`},
		"a list of scalars":          {`o = {in: ["x", "y"]}`, `o = {in: ["x", "y"]}`},
		"brackets in a string":       {`o = {a: [{b: "[{\"], {"}]}`, `o = {a: {b: "[{\"], {"}}`},
		"an extension as a name":     {`o = {[a.b]: {c: 1}}`, `o = {[a.b]: {c: 1}}`},
		"options that are no values": {`string a = 1 [deprecated = true, json_name = "b"];`, `string a = 1 [deprecated = true, json_name = "b"];`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := unfoldLists(test.source); got != test.want {
				t.Errorf("unfoldLists(%s) is %s, want %s", test.source, got, test.want)
			}
		})
	}
}
