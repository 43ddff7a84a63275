package sdk_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/certwright/certwright/sdk"
)

// What plugins of the first release print for describe must be read for ever as
// it was meant: names and forms of its members are part of the contract, and are
// in no .proto. The file is the released one; it grows at a release only.
func TestReleasedDescriptionIsRead(t *testing.T) {
	released, err := os.ReadFile("proto/released/describe-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(released))
	decoder.DisallowUnknownFields() // a member that was renamed is not known any more
	var d sdk.Description
	if err := decoder.Decode(&d); err != nil {
		t.Fatalf("the released description is not read: %v", err)
	}
	again, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(released, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(again, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("read and written again, the released description is another (-released +now):\n%s", diff)
	}
}
