package declared

import (
	"strings"
	"testing"

	"github.com/tailfold/tailfold/projections"
)

// Each expression fails at data of the event or the value. The data has a marker, which only the quoted text shows.
const failsAtData = `
event.beyond
[event.beyond]
event.huge + 1
event.most + event.n
event.least - event.n
event.most * event.n
-event.least
abs(event.least)
div(event.least, -1)
scaled(event.s, 2)
scaled(1.5, event.n)
int(event.s)
int(event.float)
float(event.s)
float(event.exponent)
bitshl(1, event.n)
take([1], event.negative)
inc(event.of, event.s, 1)
keep_last([1], 2, event.n)
keep_top([{"x": 1}], {"x": 2}, event.s, 5)
repeat("x", event.negative)
token(event.negative)
minutes(event.most)
ms(event.s)
bucket(event.most, "1d")
bucket(time, event.s)
int(value.s)
`

func TestFailedExpressionsQuoteDataOnlyWhereItMayBe(t *testing.T) {
	const event = `{"beyond":739184625073918462507391846250,"huge":7391846250e999,"most":9223372036854775807,"least":-9223372036854775808,` +
		`"of":{"m4rk3r":"x"},"n":7391846250,"negative":-7391846250,"s":"m4rk3r","float":7391846250e20,"exponent":"7391846250e999"}`
	markers := []string{"m4rk3r", "7391846250", "7.39184625", "9223372036854775807", "9223372036854775808"}
	shows := func(text, expression string) bool {
		text = strings.ReplaceAll(text, expression, "") // of the configuration
		for _, m := range markers {
			if strings.Contains(text, m) {
				return true
			}
		}
		return false
	}
	for expression := range strings.Lines(strings.TrimSpace(failsAtData)) {
		expression = strings.TrimSpace(expression)
		got, err := evaluated(expression, event, `{"s":"m4rk3r"}`)
		if err == nil || strings.HasPrefix(err.Error(), "compile:") {
			t.Errorf("%s is %s (%v), and should fail when it runs", expression, got, err)
			continue
		}
		if shows(err.Error(), expression) || !strings.Contains(err.Error(), "…") {
			t.Errorf("%s shows data: %v", expression, err)
		}
		if full := projections.Quoted(err); !shows(full, expression) || strings.Contains(full, "%!") {
			t.Errorf("%s does not quote: %s", expression, full)
		}
	}
	for _, data := range []string{`{"m4rk3r":}`, `{"m4rk3r":1,"m4rk3r":1}`, `"m4rk3r" m4rk3r`, `{"m4rk3r`} {
		if _, err := evaluated("event.i", data, `{}`); err == nil || shows(err.Error(), "") || !strings.Contains(err.Error(), "not JSON as it must be") {
			t.Errorf("%s: %v", data, err)
		}
		if _, err := parseStored([]byte(data)); err == nil || shows(err.Error(), "") {
			t.Errorf("%s as a stored value: %v", data, err)
		}
	}
	if _, err := parseStored([]byte(`{"a":739184625073918462507391846250}`)); err == nil || shows(err.Error(), "") {
		t.Errorf("a stored number: %v", err)
	}
}

// The table of the language fails in all the ways that there are, over data of which each text is known.
func TestNoFailureOfTheLanguageTableShowsAText(t *testing.T) {
	event := strings.NewReplacer("héllo", "m4rk3r", `"b"`, `"m4rk3r"`, `"0.10"`, `"m4rk3r0.1x"`, "19.99", "73918.25").Replace(anEvent)
	failed := 0
	for line := range strings.Lines(languageTable) {
		expression, _, _ := strings.Cut(strings.TrimSpace(line), " | ")
		if expression == "" || strings.HasPrefix(expression, "#") || strings.Contains(expression, "m4rk3r") {
			continue
		}
		_, err := evaluated(expression, event, strings.ReplaceAll(anOld, `"p"`, `"m4rk3r"`))
		if err == nil {
			continue
		}
		failed++
		if text := err.Error(); strings.Contains(text, "m4rk3r") || strings.Contains(text, "73918.25") {
			t.Errorf("%s shows data: %v", expression, err)
		}
	}
	if failed < 50 {
		t.Errorf("only %d expressions failed", failed)
	}
}
