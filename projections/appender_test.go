package projections

import (
	"testing"

	"pgregory.net/rapid"
)

// What is appended is what Encode gives, byte for byte; a type with an encoding of its own is never taken for its number.
func TestNumbersAreAppendedAsTheyAreEncoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		appendedAsEncoded(t, rapid.Int64().Draw(t, "int64"))
		appendedAsEncoded(t, rapid.Int().Draw(t, "int"))
		appendedAsEncoded(t, rapid.Uint64().Draw(t, "uint64"))
	})
	if appenderOf[cents](JSONCodec[cents]{}) != nil || appenderOf[map[string]int](JSONCodec[map[string]int]{}) != nil ||
		appenderOf[any](JSONCodec[any]{}) != nil {
		t.Error("a value that is no plain number is appended as one")
	}
	if appenderOf[int64](lossy{}) != nil {
		t.Error("a codec that only embeds JSONCodec is taken for it")
	}
}

type cents int64

func (cents) MarshalJSON() ([]byte, error) { return []byte(`"cents"`), nil }

type lossy struct{ JSONCodec[int64] }

func (lossy) Encode(int64) ([]byte, error) { return []byte("0"), nil }

func appendedAsEncoded[V any](t *rapid.T, value V) {
	encoded, err := JSONCodec[V]{}.Encode(value)
	if err != nil {
		t.Fatal(err)
	}
	appended, err := appenderOf[V](JSONCodec[V]{}).Append([]byte("before"), value)
	if err != nil || string(appended) != "before"+string(encoded) {
		t.Fatalf("%v is encoded as %s, appended as %s (%v)", value, encoded, appended, err)
	}
}
