package edge

import (
	"strings"
	"testing"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

func FuzzMessageNesting(f *testing.F) {
	user := &gatehousev1.User{}
	if err := protojson.Unmarshal([]byte(`{"metadata":{"a":`+strings.Repeat("[", MaxNesting)+strings.Repeat("]", MaxNesting)+`}}`), user); err != nil {
		f.Fatal(err)
	}
	for _, message := range []proto.Message{user, &gatehousev1.User{FullName: "Ada"}} {
		encoded, err := proto.Marshal(message)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	descriptor := user.ProtoReflect().Descriptor()
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := checkMessageNesting(raw, descriptor, 0)
		decoded := &gatehousev1.User{}
		if proto.Unmarshal(raw, decoded) != nil {
			return
		}
		encoded, err := protojson.Marshal(decoded)
		if err != nil {
			return // Numbers that JSON does not have, or a Value of nothing.
		}
		if want := CheckJSONNesting(encoded, 0); want != nil && got == nil {
			t.Errorf("the message passes, but %s does not", encoded)
		}
	})
}
