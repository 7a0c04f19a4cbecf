// Package emailtest contains e-mail addresses for tests of their comparison.
package emailtest

// Same are pairs of one mailbox each.
var Same = [][2]string{
	{"case@example.com", "CASE@Example.Com"},
	{"straße@example.com", "STRAẞE@example.com"},
	{"grüßea@example.com", "GRÜẞEa@example.com"},
	{"ὀδυσσεύς@example.com", "ὈΔΥΣΣΕΎΣ@example.com"}, // final sigma
	{"σίσυφος@example.com", "σίσυφοσ@example.com"},
	{"caf\u00e9@example.com", "cafe\u0301@example.com"}, // NFC, NFD
	{"\u1e9b\u0323@example.com", "\u017f\u0323\u0307@example.com"},
	{"\u212bngstr\u00f6m@example.com", "\u00e5NGSTRO\u0308M@example.com"}, // the sign of the unit
	{"nbsp@example.com", "\u00a0nbsp@example.com\u00a0"},
	{"space@example.com", "\t \u2003space@example.com\r\n \u3000\u0085"},
	{"\u01f0@example.com", "j\u030c@example.com"}, // two code points that have one together
	{"\u1fb3@example.com", "\u03b1\u0345@example.com"},
	{"\u1f88@example.com", "\u1f80@example.com"}, // full case folding makes it two letters
	{"ꭰꭱ@example.com", "ᎠᎡ@example.com"},         // Cherokee folds to capitals

	{"adab@bücher.example", "adab@xn--bcher-kva.example"},
	{"adac@BÜCHER.example", "adac@XN--BCHER-KVA.EXAMPLE"},
	{"adad@bu\u0308cher.example", "Adad@xn--bcher-kva.example"},
	{"adae@straße.example", "adae@xn--strae-oqa.example"},
	{"adaf@straße.example", "adaf@STRAẞE.example"},
	{"adag@ｅｘａｍｐｌｅ.com", "adag@example.com"}, // full-width
	{"adah@παράδειγμα.example", "adah@ΠΑΡΆΔΕΙΓΜΑ.example"},
	{"adai@xn--hxajbheg2az3al.example", "adai@παράδειγμα.example"},
	{"adaj@\u4f8b\u3048\u3002example", "adaj@xn--r8jz45g.example"}, // the ideographic full stop
	{"adak@ab--cd.example", "adak@AB--CD.example"},
	{"grüßel@bücher.example", "GRÜẞEl@xn--bcher-kva.example"},
}

// Different are pairs of two mailboxes each, which one collation or another takes for the same.
var Different = [][2]string{
	{"rené@example.com", "rene@example.com"},
	{"zoë@example.com", "zoe@example.com"},
	{"łukasz@example.com", "lukasz@example.com"},
	{"ivan@example.com", "ıvan@example.com"}, // dotless i
	{"o'brien@example.com", "obrien@example.com"},
	{"per-son@example.com", "person@example.com"},
	{"zero@example.com", "ze\u200bro@example.com"},
	{"full@example.com", "ｆull@example.com"}, // full-width
	{"latin-a@example.com", "l\u0430tin-a@example.com"},
	{"あ@example.com", "ア@example.com"}, // Hiragana, Katakana
	{"🍣@example.com", "🍺@example.com"},
	{"nul@example.com", "nul@example.com\x00"},
	{"one@example.com", "one@example.com."},
	{"su@example.com", "s\u00fc@example.com"},
	{"sue@example.com", "s\u00fce@example.com"},
	{"straße@example.com", "strasse@example.com"},
	{"o\ufb03ce@example.com", "office@example.com"}, // a ligature
	{"\u0130zmir@example.com", "izmir@example.com"}, // İ
	{"adam@straße.example", "adam@strasse.example"},
	{"adan@xn--strae-oqa.example", "adan@strasse.example"},
	{"adao@βόλος.example", "adao@βόλοσ.example"}, // final sigma, which is a letter of its own in domains
	{"adap@bücher.example", "adap@buecher.example"},
	{"adaq@\u0430pple.example", "adaq@apple.example"},  // Cyrillic
	{"adar@xn--zzzzzz.example", "adar@zzzzzz.example"}, // no punycode
}
