package declared

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tailfold/tailfold/projections"
)

// evaluated computes an expression over an event and an old value, and returns the result as it would be stored.
func evaluated(expression, event, old string) (string, error) {
	x := &faults{file: "e"}
	p := &program{shape: newShape(), event: unknown, lets: map[string]*let{}}
	c, err := p.compile(&source{file: "e", line: 1, column: 1, text: expression, indent: -1}, usageAny)
	if err != nil {
		return "", fmt.Errorf("compile: %w", err)
	}
	p.shape.seal()
	m := newMachine(&Projection{program: p})
	if err := m.begin(projections.Event{Seq: 7, Subject: "orders.2.c-9", Data: []byte(event), Header: projections.NewHeader("X", "one", "X", "two", "Empty", ""),
		Time: time.Date(2026, 11, 23, 10, 17, 5, 120, time.UTC)}, false); err != nil {
		return "", err
	}
	m.f.key = "k"
	if m.f.state, err = parseStored([]byte(old)); err != nil {
		return "", err
	}
	v := c.run(&m.f).own()
	if v.kind() == bad {
		if m.f.err == nil {
			return "", fmt.Errorf("failed without a reason")
		}
		return "", m.f.err
	}
	return string(appendJSON(nil, v)), x.err()
}

const anEvent = `{"i":3,"big":9007199254740993,"most":9223372036854775807,"least":-9223372036854775808,"beyond":9223372036854775808,"f":2.5,"whole":3.0,"tiny":1e-7,
"huge":1e400,"s":"héllo","e":"","t":true,"no":false,"null":null,"money":19.99,"text":"0.10","items":[{"sku":"b","qty":2},{"sku":"a","qty":3},{"sku":"b","qty":1}],
"xs":[3,1,2],"names":["b","a","b"],"empty":[],"m":{"y":2,"x":5,"z":2},"deep":{"a":{"b":{"c":1}}},"at":"2026-11-23T10:17:05.999Z","with space":1}`

const anOld = `{"l":[1,2,3],"m":{"a":1},"n":5,"rows":[{"id":"p","v":9},{"id":"q","v":4}]}`

// Each line: an expression and what it gives, or after "!" a part of the message.
const languageTable = `
# numbers: exact 64-bit ints, floats otherwise
event.i | 3
event.big + 0 | 9007199254740993
event.big * 1 == 9007199254740992 | false
event.big > 9007199254740992.0 | true
event.big == 9007199254740992.0 | false
event.most | 9223372036854775807
event.least | -9223372036854775808
event.beyond | ! beyond 64 bits
event.huge | ! beyond what a float can hold
event.most + 1 | ! overflow
event.least - 1 | ! overflow
event.most * 2 | ! overflow
event.least * -1 | ! overflow
-event.least | ! overflow
abs(event.least) | ! overflow
div(event.least, -1) | ! overflow
event.least % -1 | 0
3 + 4 | 7
3 + 4.0 | 7.0
3 == 3.0 | true
event.whole | 3.0
event.whole + 1 | 4.0
7 / 2 | 3.5
6 / 2 | 3.0
1 / 0 | ! division by zero
1 % 0 | ! division by zero
1.5 / 0.0 | ! division by zero
div(7, 2) | 3
div(-7, 2) | -3
-7 % 2 | -1
div(1, 0) | ! division by zero
7.5 % 2 | ! two ints
div(7.5, 2) | ! an int
2 ** 10 | 1024
2 ** 63 | ! overflow
2 ** -1 | ! from 0 to 1024
1.5 ** 2 | 2.25
1e308 * 10.0 | ! not a finite number
0.1 + 0.2 | 0.30000000000000004
int(2.9) | 2
int(-2.9) | -2
int(1e30) | ! overflow
int("42") | 42
int("4.2") | ! not the decimal text of an int
float(3) | 3.0
float("2.5") | 2.5
float("x") | ! not a decimal number
round(2.5) | 3.0
floor(-2.5) | -3.0
ceil(2.1) | 3.0
int(round(2.5)) | 3
1 < 2 | true
1 < 1.5 | true
1 < 2 < 3 | true
3 > 2 > 2 | false
1_000 + 0x10 | 1016
# money
scaled(event.money, 2) | 1999
scaled(event.text, 2) | 10
scaled(event.i, 2) | 300
scaled(event.money, 1) | ! more decimals
scaled("1e2", 2) | 10000
scaled("1.5e1", 0) | 15
scaled("1.55e1", 0) | ! more decimals
scaled("92233720368547758.07", 2) | 9223372036854775807
scaled("92233720368547758.08", 2) | ! overflow
scaled("-92233720368547758.08", 2) | -9223372036854775808
scaled("1,5", 2) | ! not a decimal number
scaled("+1", 2) | ! not a decimal number
scaled(" 1", 2) | ! not a decimal number
scaled("", 2) | ! not a decimal number
scaled(0.5, 2) | ! its text is lost
scaled(event.missing, 2) | ! scaled of nil
scaled(event.missing ?? 0, 2) | 0
scaled(event.money, 19) | ! from 0 to 18
# nil: missing and null read alike, at any depth
event.missing == nil | true
event.null == nil | true
event.missing.deeper.still == nil | true
event.deep.a.b.c | 1
event.deep.a.x.c == nil | true
event?.deep?.a?.b | {"c":1}
nil == nil | true
nil == 0 | false
event.missing != "x" | true
event.missing + 1 | ! + on nil: event.missing is nil; write (event.missing ?? 0)
1 - event.missing | ! (event.missing ?? 0)
event.missing < 1 | ! < on nil
-event.missing | ! on nil
not event.missing | ! (event.missing ?? false)
event.missing and true | ! and needs a bool
event.t and event.missing | ! and needs a bool
event.missing ? 1 : 2 | ! a condition needs a bool
event.missing in [1] | ! in on nil
1 in event.missing | ! has(event.missing
event.missing contains "x" | ! contains on nil
len(event.missing) | ! (event.missing ?? [])
sum(event.missing) | ! (event.missing ?? [])
event.missing ?? 5 | 5
event.e ?? 5 | ""
event.no ?? true | false
event.missing ?? event.null ?? 7 | 7
event.beyond ?? 0 | ! beyond 64 bits
(event.missing + 1) ?? 0 | ! on nil
event.i.x | ! a map is needed
event.items.sku | ! a map is needed
# conditions
event.t ? 1 : 2 | 1
event.i ? 1 : 2 | ! needs a bool
if event.t { 1 } else if event.no { 2 } else { 3 } | 1
event.t or event.missing | true
event.no and event.missing | false
event.t && !event.no | true
let a = event.i; let b = a + 1; a * b | 12
# text: code points, bytewise order, UTF-8
event.s[0:2] | "hé"
event.s[1] | "é"
event.s[-1] | "o"
event.s[9] == nil | true
event.s[2:] | "llo"
event.s[:-1] | "héll"
event.s[3:1] | ""
len(event.s) | 5
"a" < "b" | true
"Z" < "a" | true
"a" < 1 | ! mismatched types
event.s < 1 | ! two numbers or two texts
event.s + 1 | ! two numbers or two texts
"n" + event.i | ! two numbers or two texts
event.s + "!" | "héllo!"
upper(event.s) | "HÉLLO"
event.s contains "ll" | true
event.s startsWith "hé" | true
event.s endsWith "x" | false
event.s matches "^h.l+o$" | true
event.s not contains "x" | true
"\xff" | "ÿ"
indexOf(event.s, "l") | 2
lastIndexOf(event.s, "l") | 3
indexOf(event.s, "x") | -1
split("a,b,,c", ",") | ["a","b","","c"]
split("a,b,c", ",", 2) | ["a","b,c"]
join(["a","b"], "-") | "a-b"
join([1], "-") | ! map(…, text(#))
replace("aXbX", "X", "") | "ab"
repeat("ab", 3) | "ababab"
repeat("ab", 10000000) | ! limit
trim("  a ") | "a"
trim("xax", "x") | "a"
trimPrefix("pre-x", "pre-") | "x"
text(12) | "12"
text(3.0) | "3.0"
text(true) | "true"
text("x") | "x"
text(nil) | ! text of nil
text([1]) | ! text of a list
type(event.m) | "map"
toBase64("hi") | "aGk="
fromBase64("aGk=") | "hi"
fromBase64("/w==") | ! not UTF-8
event.s | upper() | "HÉLLO"
event.xs | sum() | 6
# collections: maps sorted, sorts stable, sets in order of insertion
keys(event.m) | ["x","y","z"]
values(event.m) | [5,2,2]
toPairs({b: 1, a: 2}) | [["a",2],["b",1]]
fromPairs([["b", 1], ["a", 2]]) | {"a":2,"b":1}
ranked(event.m, 2) | [{"key":"x","value":5},{"key":"y","value":2}]
ranked(nil, 2) | []
sort(event.xs) | [1,2,3]
sort(event.xs, "desc") | [3,2,1]
sort(event.names) | ["a","b","b"]
sort([1, "a"]) | ! numbers or texts
sortBy(event.items, .sku) | [{"qty":3,"sku":"a"},{"qty":2,"sku":"b"},{"qty":1,"sku":"b"}]
sortBy(event.items, .sku, "desc") | [{"qty":2,"sku":"b"},{"qty":1,"sku":"b"},{"qty":3,"sku":"a"}]
groupBy(event.items, .sku) | {"a":[{"qty":3,"sku":"a"}],"b":[{"qty":2,"sku":"b"},{"qty":1,"sku":"b"}]}
uniq(event.names) | ["b","a"]
reverse(event.xs) | [2,1,3]
concat(event.xs, [9]) | [3,1,2,9]
flatten([[1,[2]],3]) | [1,2,3]
first(event.xs) | 3
last(event.xs) | 2
first(event.empty) == nil | true
take(event.xs, 2) | [3,1]
event.xs[0] | 3
event.xs[-1] | 2
event.xs[7] == nil | true
event.xs[1:] | [1,2]
event.xs["a"] | ! a map is needed
[1]["a"] | ! which has no members
event.xs[event.s] | ! indexed by an int
event.m["x"] | 5
event["i"] | 3
event["with space"] | 1
event.items[1].sku | "a"
1..4 | [1,2,3,4]
4..1 | []
1..1000000 | ! more than 100000 items
3 in event.xs | true
"x" in event.m | true
9 not in event.xs | true
{b: 1, a: nil, c: {d: nil}} | {"b":1,"c":{}}
{(event.names[0]): 1, "q q": 2, 7: 3} | {"7":3,"b":1,"q q":2}
{a: 1, a: 2} | ! names "a" twice
[1, nil, 2.0, "x", true] | [1,null,2.0,"x",true]
[1, 2] == [1.0, 2] | true
{a: 1} == {a: 1, b: nil} | true
map(event.items, .qty * 2) | [4,6,2]
map(event.xs, # + #index) | [3,2,4]
filter(event.xs, # > 1) | [3,2]
filter(event.xs, {# > 1}) | [3,2]
count(event.xs, # > 1) | 2
count([true, false, true]) | 2
sum(event.items, .qty) | 6
sum(event.xs) | 6
sum([]) | 0
sum([event.most, 1]) | ! overflow
all(event.xs, # > 0) | true
any(event.xs, # > 2) | true
none(event.xs, # > 2) | false
one(event.xs, # > 2) | true
find(event.xs, # < 3) | 1
findIndex(event.xs, # < 3) | 1
findLast(event.xs, # < 3) | 2
findLastIndex(event.xs, # < 3) | 2
find(event.xs, # > 9) == nil | true
reduce(event.xs, #acc + #, 10) | 16
reduce(event.xs, #acc * 10 + #) | 312
reduce([], #acc + #) | ! needs a start
filter(event.m, true) | ! values(event.m)
filter(event.xs, #) | ! filter needs a bool
sum(event.names) | ! sum needs a number
map(event.items, filter(event.xs, # > 1)[0]) | [3,3,3]
map([1,2], map([10,20], # + 1)) | [[11,21],[11,21]]
max(event.xs) | 3
max(1, 2.5) | 2.5
max(len("abc"), 7.5) == 7 | false
max([]) == nil | true
min(event.xs, 0) | 0
mean([1, 2]) | 1.5
median([3, 1, 2]) | 2.0
max("a") | ! max needs
bitand(6, 3) | 2
bitshl(1, 4) | 16
bitshl(1, 63) | ! overflow
# what a value is kept with
put(value.m, "b", 2) | {"a":1,"b":2}
put(nil, "b", 2) | {"b":2}
put(value.m, "a", nil) | {}
put(value.m, 7, 1) | {"7":1,"a":1}
put(value.m, nil, 1) | ! name is nil
drop(value.m, "a") | {}
drop(nil, "a") | {}
inc(value.m, "a", 2) | {"a":3}
inc(value.m, "b", 2) | {"a":1,"b":2}
inc(nil, event.s, 1) | {"héllo":1}
inc({a: "x"}, "a", 1) | ! inc adds to numbers
inc(value.m, "a", event.most) | ! overflow
add_to(value.l, 4) | [1,2,3,4]
add_to(value.l, 2) | [1,2,3]
add_to(nil, "x") | ["x"]
remove_from(value.l, 2) | [1,3]
remove_from(nil, 2) | []
keep_last(value.l, 9, 2) | [3,9]
keep_last(nil, 9, 2) | [9]
keep_last(value.l, 9, 0) | ! keeps from 1
keep_top(value.rows, {id: "r", v: 9}, "v", 3) | [{"id":"p","v":9},{"id":"r","v":9},{"id":"q","v":4}]
keep_top(value.rows, {id: "r", v: 1}, "v", 2) | [{"id":"p","v":9},{"id":"q","v":4}]
keep_top(nil, {v: 1.5}, "v", 1) | [{"v":1.5}]
keep_top(value.rows, {id: "r"}, "v", 3) | ! a number is needed
has(value.m, "a") | true
has(value.l, 2.0) | true
has(nil, 1) | false
has(value.l, nil) | false
value.n + 1 | 6
value.nothing ?? 0 | 0
# the log's own
seq | 7
key | "k"
subject | "orders.2.c-9"
token(1) | "orders"
token(3) | "c-9"
token(4) == nil | true
token(0) | ! counts from 1
header("X") | "one"
header("Empty") | ""
header("None") == nil | true
time | "2026-11-23T10:17:05.000000120Z"
time[0:10] | "2026-11-23"
ms(time) | 1795429025000
ms(event.at) | 1795429025999
ms("2026-11-23T11:17:05+01:00") | 1795429025000
ms("1969-12-31T23:59:59.9999Z") | -1
ms("2026-02-29T00:00:00Z") | ! not a time
ms("2026-11-23") | ! RFC 3339
ms("2026-11-23T10:17:60Z") | ! not a time
ms(event.missing) | ! ms of nil
minutes(30) | 1800000
bucket(event.at, "1m") | "2026-11-23T10:17Z"
bucket(event.at, "5m") | "2026-11-23T10:15Z"
bucket(event.at, "15m") | "2026-11-23T10:15Z"
bucket(time, "1h") | "2026-11-23T10Z"
bucket(event.at, "1d") | "2026-11-23"
bucket("2026-11-24T00:30:00+01:00", "1d") | "2026-11-23"
bucket(event.at, "2h") | ! 1m, 5m, 15m, 1h or 1d
# refused, with what to write instead
now() | ! no clock
date("2026-11-23") | ! time zone
string(1) | ! text(x)
toJSON(event) | ! keep the value itself
fromJSON("1") | ! not as text in JSON
event.s.upper() | ! upper(x)
1; 2 | ! only the last
b"x" | ! no bytes
valeu.x | ! did you mean value?
placed | ! write '"placed"'
sum | ! sum is a function
summ(event.xs) | ! did you mean sum?
len() | ! takes 1 argument
len(1, 2) | ! takes 1 argument
event.s matches event.e | ! written out
event.s matches "(" | ! not a regular expression
1 +  | ! ends too early
null | ! it is nil here
#index | !
`

func TestTheLanguage(t *testing.T) {
	for line := range strings.Lines(languageTable) {
		line = strings.TrimSpace(line)
		i := strings.LastIndex(line, " | ")
		if line == "" || i < 0 {
			continue
		}
		expression, want := line[:i], strings.TrimSpace(line[i+3:])
		got, err := evaluated(expression, anEvent, anOld)
		message, poison := strings.CutPrefix(want, "!")
		switch {
		case poison && err == nil:
			t.Errorf("%s = %s, want the error %q", expression, got, message)
		case poison && !strings.Contains(err.Error(), strings.TrimSpace(message)):
			t.Errorf("%s: %v\nwant the error %q", expression, err, message)
		case !poison && err != nil:
			t.Errorf("%s: %v\nwant %s", expression, err, want)
		case !poison && got != want:
			t.Errorf("%s = %s, want %s", expression, got, want)
		}
	}
}
