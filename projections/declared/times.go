package declared

import (
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// eventFunctions read the event beside its data, and times. All times are UTC; there is no clock.
var eventFunctions = map[string]*function{
	"token": {params: params(anInt), result: aText | aNil, run: func(f *frame, at spot, args []value) value {
		n := args[0].int()
		if n < 1 {
			return f.fail(at, "token counts from 1, not %d", quote(n))
		}
		rest := f.event.Subject
		for ; n > 1; n-- {
			_, after, more := strings.Cut(rest, ".")
			if !more {
				return value{}
			}
			rest = after
		}
		token, _, _ := strings.Cut(rest, ".")
		return f.outside(at, "the subject", token)
	}},
	"header": {params: params(aText), result: aText | aNil, run: func(f *frame, at spot, args []value) value {
		s, ok := f.event.Header.Get(args[0].str())
		if !ok {
			return value{}
		}
		return f.outside(at, "the header's value", s)
	}},
	"ms": {params: params(aText | aNil), result: anInt, run: func(f *frame, at spot, args []value) value {
		n, ok := f.timeOf(at, "ms", args[0])
		if !ok {
			return failed()
		}
		return ofInt(n)
	}},
	"minutes": {params: params(anInt), result: anInt, run: func(f *frame, at spot, args []value) value {
		n, ok := mulInt(args[0].int(), 60_000)
		if !ok {
			return f.fail(at, "overflow: minutes(%d) is beyond 64 bits", quote(args[0].int()))
		}
		return ofInt(n)
	}},
	"bucket": {params: params(aText|anInt|aNil, aText), result: aText, check: checkWidth, run: bucket},
}

// timeOf reads a time as ms since 1970, rounded down.
func (f *frame) timeOf(at spot, name string, v value) (int64, bool) {
	switch v.kind() {
	case null:
		f.fail(at, "%s of nil: the event has no such time; filter such events out with when, or write time, the log's own", name)
		return 0, false
	case integer:
		if v.int() < minTime || v.int() > maxTime {
			f.fail(at, "%s: %d ms is not within the years 0 to 9999", name, quote(v.int()))
			return 0, false
		}
		return v.int(), true
	}
	n, ok := parseTime(v.str())
	if !ok {
		f.fail(at, "%s(%q): it is not a time in RFC 3339, such as 2026-11-23T10:15:00Z", name, quote(shorten(v.str(), 60)))
	}
	return n, ok
}

// The years 0 to 9999 in ms since 1970.
const (
	minTime = -62_167_219_200_000
	maxTime = 253_402_300_799_999
)

// parseTime reads RFC 3339 strictly: yyyy-mm-ddThh:mm:ss[.f…](Z|±hh:mm).
func parseTime(s string) (ms int64, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return 0, false
	}
	ok = true
	number := func(s string, least, most int64) int64 {
		n := int64(0)
		for i := range len(s) {
			if s[i] < '0' || s[i] > '9' {
				ok = false
				return 0
			}
			n = n*10 + int64(s[i]-'0')
		}
		ok = ok && n >= least && n <= most
		return n
	}
	year, month := number(s[0:4], 0, 9999), number(s[5:7], 1, 12)
	day := number(s[8:10], 1, 31)
	hour, minute, second := number(s[11:13], 0, 23), number(s[14:16], 0, 59), number(s[17:19], 0, 59)
	if !ok || day > daysIn(year, month) {
		return 0, false
	}
	rest, fraction := s[19:], int64(0)
	if rest[0] == '.' {
		n := digits(rest[1:])
		if n == 0 {
			return 0, false
		}
		fraction = number((rest[1:1+n] + "000")[:3], 0, 999)
		rest = rest[1+n:]
	}
	offset := int64(0)
	switch {
	case rest == "Z":
	case len(rest) == 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':':
		offset = number(rest[1:3], 0, 23)*60 + number(rest[4:6], 0, 59)
		if rest[0] == '-' {
			offset = -offset
		}
	default:
		return 0, false
	}
	ms = (((daysSince1970(year, month, day)*24+hour)*60+minute-offset)*60+second)*1000 + fraction
	return ms, ok && ms >= minTime && ms <= maxTime
}

func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

// daysSince1970 counts days in the Gregorian calendar, years beginning in March so that leap days come last.
func daysSince1970(year, month, day int64) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	if year < 0 {
		era = -1
	}
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return era*146_097 + ofEra*365 + ofEra/4 - ofEra/100 + ofYear - 719_468
}

// widths of buckets, and how their start is written.
var widths = map[string]struct {
	ms     int64
	layout string
}{
	"1m":  {60_000, "2006-01-02T15:04Z"},
	"5m":  {5 * 60_000, "2006-01-02T15:04Z"},
	"15m": {15 * 60_000, "2006-01-02T15:04Z"},
	"1h":  {3_600_000, "2006-01-02T15Z"},
	"1d":  {86_400_000, "2006-01-02"},
}

const widthNames = "1m, 5m, 15m, 1h or 1d"

func checkWidth(c *compiler, at spot, args []ast.Node) {
	if w, ok := args[1].(*ast.StringNode); ok {
		if _, ok := widths[w.Value]; !ok {
			c.fault(c.at(args[1]), "bucket has no width %q: it is %s", w.Value, widthNames)
		}
	}
}

func bucket(f *frame, at spot, args []value) value {
	w, ok := widths[args[1].str()]
	if !ok {
		return f.fail(at, "bucket has no width %q: it is %s", quote(shorten(args[1].str(), 20)), widthNames)
	}
	ms, ok := f.timeOf(at, "bucket", args[0])
	if !ok {
		return failed()
	}
	over := ms % w.ms
	if over < 0 {
		over += w.ms
	}
	return ofText(time.UnixMilli(ms - over).UTC().Format(w.layout))
}
