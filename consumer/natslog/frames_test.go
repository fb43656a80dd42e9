package natslog

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sorter is a receiver that writes down what it gets. It wants the subscriptions with an odd number.
type sorter struct {
	sid  uint64
	got  []string
	kept []kept
}

// kept is a message that owned its bytes, and what it was when it came.
type kept struct {
	data []byte
	was  string
}

func (s *sorter) wants(sid uint64) bool {
	s.sid = sid
	return sid%2 == 1
}

func (s *sorter) receive(f *frame) {
	s.got = append(s.got, fmt.Sprintf("%d %q %q %q %q", s.sid, f.subject, f.reply, f.header, f.data))
	if f.owned {
		s.kept = append(s.kept, kept{f.data, string(f.data)})
	}
}

// sortAll gives a stream in pieces of the sizes given, in turn, as a connection does.
func sortAll(stream []byte, bound int, sizes ...int) (got []string, passed, rest string, err error) {
	f := frames{bound: bound}
	var s sorter
	var out, held []byte
	buffer := make([]byte, bound)
	for i := 0; len(stream) > 0; i++ {
		n := min(max(sizes[i%len(sizes)], 1), len(stream), len(buffer)-len(held))
		in := append(buffer[:len(held)], stream[:n]...)
		stream = stream[n:]
		held, out, err = f.sort(in, out, &s)
		held = buffer[:copy(buffer, held)]
		if err != nil {
			break
		}
	}
	for _, k := range s.kept {
		if string(k.data) != k.was {
			err = fmt.Errorf("a message of its own became %q, it was %q", k.data, k.was)
		}
	}
	return s.got, string(out), string(held) + string(f.long), err
}

func TestFramesAreTakenOutAndAllElsePassesThrough(t *testing.T) {
	long := strings.Repeat("x", 3*frameBuffer)
	info := "INFO {\"server_id\":\"MSG s 1 3\"}\r\n"
	for name, c := range map[string]struct {
		stream string
		got    []string
		passed string
		rest   string
	}{
		"a message":           {"MSG s.1 1 3\r\nabc\r\n", []string{`1 "s.1" "" "" "abc"`}, "", ""},
		"one with a reply":    {"MSG s.1 1 r.2 3\r\nabc\r\n", []string{`1 "s.1" "r.2" "" "abc"`}, "", ""},
		"one without data":    {"MSG s.1 1 r.2 0\r\n\r\n", []string{`1 "s.1" "r.2" "" ""`}, "", ""},
		"one with a header":   {"HMSG s 1 r 12 15\r\nNATS/1.0\r\n\r\nabc\r\n", []string{`1 "s" "r" "NATS/1.0\r\n\r\n" "abc"`}, "", ""},
		"a header, no reply":  {"HMSG s 1 12 12\r\nNATS/1.0\r\n\r\n\r\n", []string{`1 "s" "" "NATS/1.0\r\n\r\n" ""`}, "", ""},
		"lower case and tabs": {"msg\ts  1\t1\r\na\r\n", []string{`1 "s" "" "" "a"`}, "", ""},
		"a long one":          {"MSG s 1 r 196608\r\n" + long + "\r\nPING\r\n", []string{`1 "s" "r" "" "` + long + `"`}, "PING\r\n", ""},
		"a long one's beginning": {"PING\r\nMSG s 1 r 196608\r\n" + long[:100_000], nil, "PING\r\n",
			"MSG s 1 r 196608\r\n" + long[:100_000]},
		"lines in a message": {"MSG s 1 13\r\nPING\r\nMSG s 2\r\nMSG s 3 2\r\nab\r\n",
			[]string{`1 "s" "" "" "PING\r\nMSG s 2"`, `3 "s" "" "" "ab"`}, "", ""},
		"a message for others": {"MSG s 2 r 19\r\nMSG s 1 3\r\nabc\r\nPING\r\nMSG s 1 1\r\nz\r\n", []string{`1 "s" "" "" "z"`},
			"MSG s 2 r 19\r\nMSG s 1 3\r\nabc\r\nPING\r\n", ""},
		"all the lines": {info + "PING\r\nPONG\r\n+OK\r\n-ERR 'Permissions Violation for Publish to \"a\"'\r\nMSG s 1 1\r\na\r\n" + info,
			[]string{`1 "s" "" "" "a"`}, info + "PING\r\nPONG\r\n+OK\r\n-ERR 'Permissions Violation for Publish to \"a\"'\r\n" + info, ""},
		"no message":       {"MSG s one 1\r\nMSG s 1 9999999999\r\nMSG\r\nHMSG s 1 9 3\r\n", nil, "MSG s one 1\r\nMSG s 1 9999999999\r\nMSG\r\nHMSG s 1 9 3\r\n", ""},
		"a line that ends": {"PING\r\nMSG s 1 r", nil, "PING\r\n", "MSG s 1 r"},
		"half a message":   {"MSG s 1 3\r\nab", nil, "", "MSG s 1 3\r\nab"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 1000, frameBuffer} {
				got, passed, rest, err := sortAll([]byte(c.stream), frameBuffer, size)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.got, got); diff != "" || passed != c.passed || rest != c.rest {
					t.Fatalf("in pieces of %d, %q passes and %q is left; messages (-want +got):\n%s", size, passed, rest, diff)
				}
			}
		})
	}
}

func TestStreamThatCanNotBeReadEndsTheConnection(t *testing.T) {
	for name, stream := range map[string]string{
		"a message without its end":      "MSG s 1 3\r\nabcdef\r\n",
		"a long message without its end": "MSG s 1 100000\r\n" + strings.Repeat("x", 100_010),
		"a line without an end":          "MSG " + strings.Repeat("x", 2*frameBuffer),
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 1000, frameBuffer} {
				if _, _, _, err := sortAll([]byte(stream), frameBuffer, size); err == nil {
					t.Errorf("in pieces of %d it is read", size)
				}
			}
		})
	}
}

// Whatever the server sends, in whatever pieces, the same is taken out and passed through as in one, and nothing is lost.
func FuzzFrames(f *testing.F) {
	for _, stream := range []string{
		"MSG s.1 1 $JS.ACK.S.c.1.1.1.1.0 3\r\nabc\r\nPING\r\nHMSG s 1 r 12 15\r\nNATS/1.0\r\n\r\nabc\r\n",
		"INFO {}\r\nMSG s 2 r 10\r\nMSG s 1 1\r\n\r\nMSG s 1 0\r\n\r\n-ERR 'x'\r\n",
		"MSG s 1 200\r\n" + strings.Repeat("y", 200) + "\r\nMSG s 3 2\r\nab\r\n",
		"hmsg s 1 0 0\r\n\r\nMSG s 1 3\r\nabcde\r\nMSG",
	} {
		f.Add([]byte(stream), uint16(1), uint16(5), uint16(90))
	}
	f.Fuzz(func(t *testing.T, stream []byte, a, b, c uint16) {
		const bound = 64
		got, passed, rest, err := sortAll(stream, bound, bound)
		inPieces, passedInPieces, restInPieces, errInPieces := sortAll(stream, bound, int(a), int(b), int(c))
		if (err == nil) != (errInPieces == nil) {
			t.Fatalf("in one: %v; in pieces: %v", err, errInPieces)
		}
		if err == nil && (passed != passedInPieces || rest != restInPieces) {
			t.Fatalf("%q passes and %q is left; in pieces %q and %q", passed, rest, passedInPieces, restInPieces)
		}
		if diff := cmp.Diff(got, inPieces); diff != "" {
			t.Fatalf("messages (-in one +in pieces):\n%s", diff)
		}
		if len(got) == 0 && err == nil && passed+rest != string(stream) {
			t.Fatalf("of %q, %q passes and %q is left", stream, passed, rest)
		}
	})
}

// listen writes down which subscriptions are heard of.
func listen(speech string, size int) (heard []string) {
	var s spoken
	for p := []byte(speech); len(p) > 0; {
		n := min(size, len(p))
		piece := bytes.Clone(p[:n])
		s.hear(piece, func(subject []byte, sid uint64) { heard = append(heard, fmt.Sprintf("+%d %s", sid, subject)) },
			func(sid uint64) { heard = append(heard, fmt.Sprintf("-%d", sid)) })
		clear := copy(piece, bytes.Repeat([]byte{'?'}, n)) // what was heard does not lean on the writer's bytes
		p = p[clear:]
	}
	return heard
}

func TestSubscriptionsAreHeardInWhatTheClientSays(t *testing.T) {
	for name, c := range map[string]struct {
		speech string
		want   []string
	}{
		"as the client writes them": {"CONNECT {\"user\":\"SUB x 1\"}\r\nPING\r\nSUB _INBOX.a.*  12\r\nSUB q queue 3\r\nUNSUB 12 \r\n",
			[]string{"+12 _INBOX.a.*", "+3 q", "-12"}},
		"not in what it publishes": {"PUB a 9\r\nSUB x 1\r\n\r\nHPUB a r 12 21\r\nNATS/1.0\r\n\r\nSUB x 2\r\n\r\nSUB y 3\r\n", []string{"+3 y"}},
		"not where it ends later":  {"SUB y 3\r\nUNSUB 3 5\r\n", []string{"+3 y"}},
		"nothing after nonsense":   {"SUB y 3\r\nPUB a b c d e f g\r\nSUB z 4\r\n", []string{"+3 y"}},
		"no number":                {"SUB y z\r\nSUB\r\nUNSUB x\r\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 5, 1 << 20} {
				if diff := cmp.Diff(c.want, listen(c.speech, size)); diff != "" {
					t.Errorf("in pieces of %d (-want +got):\n%s", size, diff)
				}
			}
		})
	}
	if got := listen(strings.Repeat("x", 2*longestSpoken)+"\r\nSUB y 3\r\n", 100); got != nil {
		t.Errorf("after a line of any length %q is heard", got)
	}
}
