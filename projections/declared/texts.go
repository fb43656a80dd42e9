package declared

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// textFunctions compute with texts. Places in a text count code points.
var textFunctions = map[string]*function{
	"text":       {params: params(anything), result: aText, run: toText},
	"type":       {params: params(anything), result: aText, run: typeOf},
	"upper":      mapText(strings.ToUpper),
	"lower":      mapText(strings.ToLower),
	"trim":       trimText(strings.TrimSpace, strings.Trim),
	"trimPrefix": trimText(nil, strings.TrimPrefix),
	"trimSuffix": trimText(nil, strings.TrimSuffix),
	"hasPrefix":  testText(strings.HasPrefix),
	"hasSuffix":  testText(strings.HasSuffix),
	"indexOf":    findText(strings.Index),

	"lastIndexOf": findText(strings.LastIndex),
	"split":       {params: params(aText, aText, anInt), optional: 1, result: aList, run: splitText(strings.SplitN)},
	"splitAfter":  {params: params(aText, aText, anInt), optional: 1, result: aList, run: splitText(strings.SplitAfterN)},
	"join":        {params: params(aList, aText), optional: 1, result: aText, run: joinTexts},
	"replace":     {params: params(aText, aText, aText, anInt), optional: 1, result: aText, run: replaceText},
	"repeat":      {params: params(aText, anInt), result: aText, run: repeatText},
	"toBase64": {params: params(aText), result: aText, run: func(f *frame, at spot, args []value) value {
		if !f.spendText(at, int(args[0].size())) {
			return failed()
		}
		return f.newText(at, base64.StdEncoding.EncodeToString([]byte(args[0].str())))
	}},
	"fromBase64": {params: params(aText), result: aText, run: fromBase64},
}

func (f *frame) countRunes(at spot, v value) value {
	if !f.spendText(at, int(v.size())) {
		return failed()
	}
	return ofInt(int64(utf8.RuneCountInString(v.str())))
}

func toText(f *frame, at spot, args []value) value {
	switch x := args[0]; x.kind() {
	case text:
		return x
	case boolean, integer:
		return ofText(string(appendJSON(nil, x)))
	case float:
		return ofText(string(appendFloat(nil, x.float())))
	case null:
		return f.fail(at, "text of nil: write text(… ?? \"\"), or another value that fits")
	default:
		return f.fail(at, "text of %v: only numbers, texts and bools have a text", x.kind())
	}
}

func typeOf(_ *frame, _ spot, args []value) value {
	return ofText([...]string{"nil", "bool", "int", "float", "string", "array", "map"}[args[0].kind()])
}

func mapText(to func(string) string) *function {
	return &function{params: params(aText), result: aText, run: func(f *frame, at spot, args []value) value {
		if !f.spendText(at, int(args[0].size())) {
			return failed()
		}
		s := to(args[0].str())
		return f.newText(at, s).lentAs(args[0]) // it may be the same text
	}}
}

// trimText makes a function of one text and, unless alone is nil, optionally a second.
func trimText(alone func(string) string, of func(s, what string) string) *function {
	optional := 0
	if alone != nil {
		optional = 1
	}
	return &function{params: params(aText, aText), optional: optional, result: aText, run: func(f *frame, at spot, args []value) value {
		if !f.spendText(at, int(args[0].size())) {
			return failed()
		}
		if len(args) == 1 {
			return ofText(alone(args[0].str())).lentAs(args[0])
		}
		return ofText(of(args[0].str(), args[1].str())).lentAs(args[0])
	}}
}

func testText(test func(s, part string) bool) *function {
	return &function{params: params(aText, aText), result: aBool, run: func(f *frame, at spot, args []value) value {
		if !f.spendText(at, int(min(args[0].size(), args[1].size()))) {
			return failed()
		}
		return ofBool(test(args[0].str(), args[1].str()))
	}}
}

func findText(find func(s, part string) int) *function {
	return &function{params: params(aText, aText), result: anInt, run: func(f *frame, at spot, args []value) value {
		if !f.spendText(at, 2*int(args[0].size())) {
			return failed()
		}
		s := args[0].str()
		i := find(s, args[1].str())
		if i < 0 {
			return ofInt(-1)
		}
		return ofInt(int64(utf8.RuneCountInString(s[:i])))
	}}
}

func splitText(split func(s, separator string, n int) []string) func(f *frame, at spot, args []value) value {
	return func(f *frame, at spot, args []value) value {
		n := -1
		if len(args) > 2 {
			n = int(max(min(args[2].int(), maxItems), -1))
		}
		s, separator := args[0].str(), args[1].str()
		if !f.spendText(at, len(s)) || !f.spend(at, pieces(s, separator)) {
			return failed()
		}
		parts := split(s, separator, n)
		items := make([]value, len(parts))
		for i, part := range parts {
			items[i] = ofText(part).lentAs(args[0])
		}
		return f.newList(at, items)
	}
}

func pieces(s, separator string) int {
	return strings.Count(s, separator) + 1
}

func joinTexts(f *frame, at spot, args []value) value {
	glue := ""
	if len(args) > 1 {
		glue = args[1].str()
	}
	size := 0
	for i, item := range args[0].items() {
		if item.kind() != text {
			return f.fail(at, "join takes texts, but item %d is %v: write map(…, text(#)) before", i, item.kind())
		}
		size += int(item.size()) + len(glue)
		if !f.spendText(at, int(item.size())+len(glue)) {
			return failed()
		}
	}
	if size > maxText+len(glue) {
		return f.fail(at, "the text has about %d bytes, over the limit of %d", size, maxText)
	}
	var b strings.Builder
	b.Grow(size)
	for i, item := range args[0].items() {
		if i > 0 {
			b.WriteString(glue)
		}
		b.WriteString(item.str())
	}
	return f.newText(at, b.String())
}

func replaceText(f *frame, at spot, args []value) value {
	n := -1
	if len(args) > 3 {
		n = int(max(min(args[3].int(), maxItems), -1))
	}
	s, old, with := args[0].str(), args[1].str(), args[2].str()
	count := pieces(s, old)
	if n >= 0 {
		count = min(count, n)
	}
	if !f.spendText(at, len(s)+count*len(with)) {
		return failed()
	}
	return f.newText(at, strings.Replace(s, old, with, n)).lentAs(args[0])
}

func repeatText(f *frame, at spot, args []value) value {
	s, n := args[0].str(), args[1].int()
	if n < 0 {
		return f.fail(at, "repeat takes a number that is not negative, not %d", quote(n))
	}
	if n > maxText || int(n)*len(s) > maxText {
		return f.fail(at, "the text has more than the limit of %d bytes", maxText)
	}
	if !f.spendText(at, int(n)*len(s)) {
		return failed()
	}
	return f.newText(at, strings.Repeat(s, int(n)))
}

func fromBase64(f *frame, at spot, args []value) value {
	if !f.spendText(at, int(args[0].size())) {
		return failed()
	}
	b, err := base64.StdEncoding.Strict().DecodeString(args[0].str())
	if err != nil {
		return f.fail(at, "fromBase64: %v", err)
	}
	if !utf8.Valid(b) {
		return f.fail(at, "fromBase64: what it holds is not UTF-8 text")
	}
	return f.newText(at, string(b))
}

// keyText is a key as text, false where it is neither a text nor an int.
func keyText(v value) (string, bool) {
	switch v.kind() {
	case text:
		return v.str(), true
	case integer:
		return strconv.FormatInt(v.int(), 10), true
	}
	return "", false
}
