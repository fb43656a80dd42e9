package declared

import (
	"cmp"
	"slices"
	"strings"
)

// collectionFunctions make new lists and maps; what they are given stays as it is.
var collectionFunctions = map[string]*function{
	"len": {params: params(aText | aList | aMap), result: anInt, run: func(f *frame, at spot, args []value) value {
		if args[0].kind() != text {
			return ofInt(int64(args[0].size()))
		}
		return f.countRunes(at, args[0])
	}},
	"put": {params: params(aMap|aNil, aText|anInt|aNil, anything), result: aMap, run: func(f *frame, at spot, args []value) value {
		return f.set(at, args[0], args[1], args[2])
	}},
	"drop": {params: params(aMap|aNil, aText|anInt|aNil), result: aMap, run: func(f *frame, at spot, args []value) value {
		return f.set(at, args[0], args[1], value{})
	}},
	"inc": {params: params(aMap|aNil, aText|anInt|aNil, aNumber), result: aMap, run: increase},
	"get": {params: params(anything, anInt|aText), result: anything, run: func(f *frame, at spot, args []value) value {
		return f.index(at, args[0], args[1], "")
	}},
	"has":         {params: params(aMap|aList|aNil, anything), result: aBool, run: hasItem},
	"add_to":      {params: params(aList|aNil, anything), result: aList, run: addTo},
	"remove_from": {params: params(aList|aNil, anything), result: aList, run: removeFrom},
	"keep_last":   {params: params(aList|aNil, anything, anInt), result: aList, run: keepLast},
	"keep_top":    {params: params(aList|aNil, aMap, aText, anInt), result: aList, run: keepTop},
	"ranked":      {params: params(aMap|aNil, anInt), result: aList, run: ranked},
	"keys": {params: params(aMap), result: aList, run: func(f *frame, at spot, args []value) value {
		return f.members(at, args[0], func(m field) value { return nameOf(args[0], m) })
	}},
	"values": {params: params(aMap), result: aList, run: func(f *frame, at spot, args []value) value {
		return f.members(at, args[0], func(m field) value { return m.value })
	}},
	"toPairs": {params: params(aMap), result: aList, run: func(f *frame, at spot, args []value) value {
		return f.members(at, args[0], func(m field) value { return ofList([]value{nameOf(args[0], m), m.value}) })
	}},
	"fromPairs": {params: params(aList), result: aMap, run: fromPairs},
	"first":     {params: params(aList), result: anything, run: func(f *frame, at spot, args []value) value { return f.index(at, args[0], ofInt(0), "") }},
	"last":      {params: params(aList), result: anything, run: func(f *frame, at spot, args []value) value { return f.index(at, args[0], ofInt(-1), "") }},
	"take": {params: params(aList, anInt), result: aList, run: func(f *frame, at spot, args []value) value {
		n := args[1].int()
		if n < 0 {
			return f.fail(at, "take of %d items: the number is not negative", quote(n))
		}
		return f.copyOf(at, args[0].items()[:min(n, int64(args[0].size()))])
	}},
	"reverse": {params: params(aList), result: aList, run: func(f *frame, at spot, args []value) value {
		v := f.copyOf(at, args[0].items())
		if v.kind() == list {
			slices.Reverse(v.items())
		}
		return v
	}},
	"uniq":    {params: params(aList), result: aList, run: uniq},
	"concat":  {params: params(aList), variadic: true, result: aList, run: concat},
	"flatten": {params: params(aList), result: aList, run: flatten},
	"sort": {params: params(aList, aText), optional: 1, result: aList, run: func(f *frame, at spot, args []value) value {
		if !f.spend(at, int(args[0].size())) {
			return failed()
		}
		return f.sorted(at, args[0].items(), args[0].items(), args[1:])
	}},
}

// nameOf is a member's name as a text, lent where the map's names are.
func nameOf(m value, member field) value {
	if m.head&lentNames != 0 {
		return lentText(member.name)
	}
	return ofText(member.name)
}

// members makes a list of a map's members, in the order of their names.
func (f *frame) members(at spot, m value, of func(field) value) value {
	if !f.spend(at, int(m.size())) {
		return failed()
	}
	items := make([]value, m.size())
	for i, member := range m.fields() {
		items[i] = of(member)
	}
	return f.newList(at, items)
}

func (f *frame) copyOf(at spot, items []value) value {
	if !f.spend(at, len(items)) {
		return failed()
	}
	return ofList(slices.Clone(items))
}

// set is a map with a member set, or without it where v is nil.
func (f *frame) set(at spot, m, name, v value) value {
	s, ok := f.memberName(at, name)
	if !ok || !f.spend(at, 1+int(m.size())) {
		return failed()
	}
	return f.newDict(at, with(m.fields(), s, v.own())).lentAs(m)
}

func increase(f *frame, at spot, args []value) value {
	s, ok := f.memberName(at, args[1])
	if !ok {
		return failed()
	}
	old := args[0].getOrNil(s)
	switch {
	case old.kind() == null:
		old = args[2]
	case old.isNumber():
		if old = f.add(at, old, args[2]); old.kind() == bad {
			return old
		}
	default:
		return f.fail(at, "inc adds to numbers, but the member %q is %v", quote(shorten(s, 64)), old.kind())
	}
	return f.set(at, args[0], args[1], old)
}

// getOrNil is a member of a map or of nil.
func (v value) getOrNil(name string) value {
	if v.kind() != dict {
		return value{}
	}
	return v.get(name)
}

func hasItem(f *frame, at spot, args []value) value {
	if args[0].kind() == null || args[1].kind() == null {
		return ofBool(args[0].kind() == list && slices.ContainsFunc(args[0].items(), func(v value) bool { return v.kind() == null }))
	}
	return f.has(at, args[0], args[1])
}

func addTo(f *frame, at spot, args []value) value {
	items := args[0].items()
	if i := f.find(at, items, args[1]); f.left < 0 {
		return failed()
	} else if i >= 0 {
		return args[0]
	}
	return f.append(at, args[0], args[1])
}

// append is a list, or nil, with x at its end, in a new slice.
func (f *frame) append(at spot, l, x value) value {
	if !f.spend(at, 1+int(l.size())) {
		return failed()
	}
	return f.newList(at, append(slices.Clip(l.items()), x.own()))
}

func removeFrom(f *frame, at spot, args []value) value {
	var kept []value
	visit := func(cost int) bool { return f.spend(at, cost) }
	for _, item := range args[0].items() {
		if !visit(1) {
			return failed()
		}
		if !same(item, args[1], visit) {
			kept = append(kept, item)
		}
	}
	if f.left < 0 {
		return failed()
	}
	return ofList(kept)
}

// limit reads the number of items to keep.
func (f *frame) limit(at spot, name string, n value) (int, bool) {
	if n.int() < 1 || n.int() > maxItems {
		f.fail(at, "%s keeps from 1 to %d items, not %d", name, maxItems, quote(n.int()))
		return 0, false
	}
	return int(n.int()), true
}

func keepLast(f *frame, at spot, args []value) value {
	n, ok := f.limit(at, "keep_last", args[2])
	if !ok || !f.spend(at, min(n, 1+int(args[0].size()))) {
		return failed()
	}
	items := args[0].items()
	items = items[max(0, len(items)+1-n):]
	kept := make([]value, len(items)+1)
	copy(kept, items)
	kept[len(items)] = args[1].own()
	return f.newList(at, kept)
}

// keepTop puts x behind the last item whose field is not less than x's: the earlier stays first among equals.
func keepTop(f *frame, at spot, args []value) value {
	n, ok := f.limit(at, "keep_top", args[3])
	if !ok || !f.spend(at, 1+int(args[0].size())) {
		return failed()
	}
	name, items := args[2].str(), args[0].items()
	rank := args[1].get(name)
	if !rank.isNumber() {
		return f.fail(at, "keep_top ranks by %q, which is %v in the new item: a number is needed", quote(shorten(name, 64)), rank.kind())
	}
	place := len(items)
	for i, item := range items {
		other := item.getOrNil(name)
		if !other.isNumber() {
			return f.fail(at, "keep_top ranks by %q, which is %v in item %d of the list: a number is needed", quote(shorten(name, 64)), other.kind(), i)
		}
		if place == len(items) && compareNumbers(other, rank) < 0 {
			place = i
		}
	}
	if place >= n && len(items) <= n {
		return args[0]
	}
	kept := make([]value, 0, len(items)+1)
	kept = append(kept, items[:place]...)
	kept = append(kept, args[1].own())
	kept = append(kept, items[place:]...)
	return f.newList(at, kept[:min(n, len(kept))])
}

func ranked(f *frame, at spot, args []value) value {
	n, ok := f.limit(at, "ranked", args[1])
	if !ok || !f.spend(at, 2*int(args[0].size())) {
		return failed()
	}
	if args[0].kind() == null {
		return ofList(nil)
	}
	members := slices.Clone(args[0].fields())
	for _, m := range members {
		if !m.value.isNumber() {
			return f.fail(at, "ranked compares numbers, but the member %q is %v", quote(shorten(m.name, 64)), m.value.kind())
		}
	}
	slices.SortStableFunc(members, func(a, b field) int { return compareNumbers(b.value, a.value) })
	rows := make([]value, min(n, len(members)))
	for i := range rows {
		rows[i] = ofFields([]field{{"key", nameOf(args[0], members[i])}, {"value", members[i].value}})
	}
	return f.newList(at, rows)
}

func fromPairs(f *frame, at spot, args []value) value {
	made := map[string]value{}
	for i, pair := range args[0].items() {
		if !f.spend(at, 1) {
			return failed()
		}
		if pair.kind() != list || pair.size() != 2 {
			return f.fail(at, "fromPairs takes pairs, but item %d is not a list of two", i)
		}
		name, ok := f.memberName(at, pair.items()[0])
		if !ok {
			return failed()
		}
		made[name] = pair.items()[1]
	}
	fields := make([]field, 0, len(made))
	for name, v := range made {
		if v.kind() != null {
			fields = append(fields, field{strings.Clone(name), v})
		}
	}
	slices.SortFunc(fields, byName)
	return f.newDict(at, fields)
}

func uniq(f *frame, at spot, args []value) value {
	var kept []value
	for _, item := range args[0].items() {
		i := f.find(at, kept, item)
		if !f.spend(at, 1) {
			return failed()
		}
		if i < 0 {
			kept = append(kept, item)
		}
	}
	return ofList(kept)
}

func concat(f *frame, at spot, args []value) value {
	n := 0
	for _, l := range args {
		n += int(l.size())
	}
	if !f.spend(at, n) {
		return failed()
	}
	items := make([]value, 0, n)
	for _, l := range args {
		items = append(items, l.items()...)
	}
	return f.newList(at, items)
}

func flatten(f *frame, at spot, args []value) value {
	var flat []value
	var walk func(items []value) bool
	walk = func(items []value) bool {
		for _, item := range items {
			if !f.spend(at, 1) {
				return false
			}
			if item.kind() != list {
				flat = append(flat, item)
			} else if !walk(item.items()) {
				return false
			}
		}
		return true
	}
	if !walk(args[0].items()) {
		return failed()
	}
	return ofList(flat)
}

// sorted is items in the order of their ranks: all numbers, or all texts. Equals keep their order in both directions.
func (f *frame) sorted(at spot, items, ranks, direction []value) value {
	down := false
	if len(direction) > 0 {
		switch {
		case direction[0].kind() == text && direction[0].str() == "desc":
			down = true
		case direction[0].kind() == text && direction[0].str() == "asc":
		default:
			return f.fail(at, "the order is \"asc\" or \"desc\"")
		}
	}
	for i := range ranks {
		if ranks[i].isNumber() != ranks[0].isNumber() || !ranks[i].isNumber() && ranks[i].kind() != text {
			return f.fail(at, "sorting takes numbers or texts, not both and no others: here are %v and %v", ranks[0].kind(), ranks[i].kind())
		}
	}
	for i := range ranks {
		if ranks[i].kind() == text && !f.spendText(at, int(ranks[i].size())) {
			return failed()
		}
	}
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int {
		c := compareRanks(ranks[i], ranks[j])
		if down {
			return -c
		}
		return c
	})
	sorted := make([]value, len(items))
	for i, from := range order {
		sorted[i] = items[from]
	}
	if !f.spend(at, len(items)) {
		return failed()
	}
	return ofList(sorted)
}

func compareRanks(a, b value) int {
	if a.kind() == text {
		return cmp.Compare(a.str(), b.str())
	}
	return compareNumbers(a, b)
}
