package natslog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBothFormsOfReplySubjectsAreRead(t *testing.T) {
	want := delivery{stream: "ORDERS", consumer: "tailfold-x", seq: 12, place: 7, nanos: 1790000000000000001, pending: 3}
	for name, reply := range map[string]string{
		"short":             "$JS.ACK.ORDERS.tailfold-x.1.12.7.1790000000000000001.3",
		"long":              "$JS.ACK.hub.ACCHASH.ORDERS.tailfold-x.1.12.7.1790000000000000001.3",
		"long, no domain":   "$JS.ACK._.ACCHASH.ORDERS.tailfold-x.1.12.7.1790000000000000001.3",
		"long, with a tail": "$JS.ACK.hub.ACCHASH.ORDERS.tailfold-x.1.12.7.1790000000000000001.3.rnd.more",
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parseDelivery(reply)
			if !ok {
				t.Fatalf("%q is not read", reply)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(delivery{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOtherReplySubjectsAreRefused(t *testing.T) {
	for _, reply := range []string{
		"", "$JS.ACK.", "$JS.ACK", "$JS.FC.ORDERS.x.1", "_INBOX.abc.1",
		"$JS.ACK.ORDERS.x.1.12.7.1790000000000000001",                        // too few
		"$JS.ACK.hub.ORDERS.x.1.12.7.1790000000000000001.3",                  // neither form
		"$JS.ACK.ORDERS.x.1.0.7.1790000000000000001.3",                       // seq 0
		"$JS.ACK.ORDERS.x.1.12.0.1790000000000000001.3",                      // place 0
		"$JS.ACK.ORDERS.x.0.12.7.1790000000000000001.3",                      // never tried
		"$JS.ACK.ORDERS.x.1.-12.7.1790000000000000001.3",                     // not digits
		"$JS.ACK.ORDERS.x.1.18446744073709551616.7.1790000000000000001.3",    // 2^64
		"$JS.ACK.ORDERS.x.1.12.7.9223372036854775808.3",                      // beyond int64
		"$JS.ACK..x.1.12.7.1790000000000000001.3",                            // no stream
		"$JS.ACK.ORDERS..1.12.7.1790000000000000001.3",                       // no consumer
		"$js.ack.ORDERS.x.1.12.7.1790000000000000001.3",                      // another case
		"$JS.ACK.ORDERS.x.1.00000000000000000000000000000012.7.1790000000.3", // longer than any number
	} {
		if got, ok := parseDelivery(reply); ok {
			t.Errorf("%q is read as %+v", reply, got)
		}
	}
}

func TestParsingAReplySubjectAllocatesNothing(t *testing.T) {
	reply := "$JS.ACK.hub.ACCHASH.ORDERS.tailfold-x.1.12.7.1790000000000000001.3"
	if n := testing.AllocsPerRun(100, func() { parseDelivery(reply) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is read must say what the subject says, in one of the two forms.
func FuzzReplySubject(f *testing.F) {
	f.Add("$JS.ACK.ORDERS.x.1.12.7.1790000000000000001.3")
	f.Add("$JS.ACK.hub.ACC.ORDERS.x.1.12.7.1790000000000000001.3")
	f.Add("$JS.ACK.hub.ACC.ORDERS.x.1.12.7.1790000000000000001.3.tail")
	f.Add("$JS.ACK.........")
	f.Add("$JS.ACK.ORDERS.x.1.18446744073709551615.18446744073709551615.9223372036854775807.18446744073709551615")
	f.Fuzz(func(t *testing.T, reply string) {
		d, ok := parseDelivery(reply)
		if !ok {
			return
		}
		tokens := strings.Split(reply, ".")
		if len(tokens) != 9 && len(tokens) < 11 {
			t.Fatalf("%q has %d tokens and is read as %+v", reply, len(tokens), d)
		}
		if len(tokens) >= 11 {
			tokens = append([]string{"$JS", "ACK"}, tokens[4:11]...)
		}
		want := []string{"$JS", "ACK", d.stream, d.consumer, tokens[4], fmt.Sprint(d.seq), fmt.Sprint(d.place),
			fmt.Sprint(d.nanos), fmt.Sprint(d.pending)}
		for i := 5; i < 9; i++ { // leading zeros are the same number
			if tokens[i] = strings.TrimLeft(tokens[i], "0"); tokens[i] == "" {
				tokens[i] = "0"
			}
		}
		if diff := cmp.Diff(want, tokens); diff != "" {
			t.Errorf("%q is read as %+v (-read +subject):\n%s", reply, d, diff)
		}
	})
}
