package projections_test

import (
	"fmt"
	"slices"

	"github.com/tailfold/tailfold/projections"
)

// A step folds one event into a value. Project starts from a seed, Resume from a state that was kept.
func Example() {
	length := func(sum int, event projections.Event) (int, error) { return sum + len(event.Data), nil }
	log := []projections.Event{
		{Seq: 1, Data: []byte("a")},
		{Seq: 2, Data: []byte("bb")},
		{Seq: 5, Data: []byte("ccc")},
	}
	full, _ := projections.Project(length, 0, log)
	snapshot, _ := projections.Project(length, 0, log[:2])
	resumed, _ := projections.Resume(length, snapshot, log[2:])
	fmt.Println("full replay    ", full)
	fmt.Println("snapshot       ", snapshot)
	fmt.Println("snapshot + tail", resumed)
	// Output:
	// full replay     {6 5}
	// snapshot        {3 2}
	// snapshot + tail {6 5}
}

func ExampleProject() {
	last := func(_ string, event projections.Event) (string, error) { return string(event.Data), nil }
	state, err := projections.Project(last, "nothing yet", []projections.Event{
		{Seq: 1, Data: []byte("placed")},
		{Seq: 2, Data: []byte("shipped")},
	})
	fmt.Println(state.Value, state.Seq, err)
	// Output: shipped 2 <nil>
}

// Events that the state has already are passed over, so that a tail may overlap the snapshot.
func ExampleResume() {
	sum := func(sum int, event projections.Event) (int, error) { return sum + len(event.Data), nil }
	state, err := projections.Resume(sum, projections.State[int]{Value: 10, Seq: 2}, []projections.Event{
		{Seq: 2, Data: []byte("counted before")},
		{Seq: 3, Data: []byte("+++")},
	})
	fmt.Println(state.Value, state.Seq, err)
	// Output: 13 3 <nil>
}

// run does what a worker does: load what is missing, fold, write what has changed.
func run(p projections.Projection, store map[string][]byte, events ...projections.Event) error {
	projections.Share(events)
	fold := p.NewFold(projections.FoldOptions{})
	for _, key := range fold.Plan(events) {
		stored, exists := store[key]
		if err := fold.Load(key, stored, exists); err != nil {
			return err
		}
	}
	if err := fold.Step(); err != nil {
		return err
	}
	changes, err := fold.Changes()
	if err != nil {
		return err
	}
	for _, entry := range changes.Put {
		store[entry.Key] = entry.Value
	}
	for _, key := range changes.Delete {
		delete(store, key)
	}
	fold.Acked()
	return nil
}

func order(seq uint64, data string) projections.Event {
	return projections.Event{Seq: seq, Subject: "orders.eu", Data: []byte(data)}
}

// A Single folds a whole log into one value, which is stored under the empty key.
func ExampleSingle() {
	type Order struct{ Amount int }
	type Revenue struct {
		Orders int `json:"orders"`
		Total  int `json:"total"`
	}
	revenue := projections.Single[Revenue]{
		Name: "revenue", Version: 1, Stream: "ORDERS",
		Step: func(value Revenue, event projections.Event) (Revenue, error) {
			order, err := projections.JSON[Order](event)
			if err != nil {
				return value, err
			}
			return Revenue{Orders: value.Orders + 1, Total: value.Total + order.Amount}, nil
		},
	}
	store := map[string][]byte{}
	err := run(revenue, store, order(1, `{"Amount":5}`), order(2, `{"Amount":7}`))
	fmt.Printf("%s %v\n", store[""], err)
	// Output: {"orders":2,"total":12} <nil>
}

// A Keyed has one value per key. Here an event touches two keys, the step sees which one it is for, and Gone deletes
// accounts that are empty.
func ExampleKeyed() {
	type Transfer struct {
		From, To string
		Cents    int
	}
	balances := projections.Keyed[int]{
		Name: "balances", Version: 1, Stream: "TRANSFERS",
		Keys: func(event projections.Event) ([]string, error) {
			t, err := projections.JSON[Transfer](event)
			return []string{t.From, t.To}, err
		},
		Step: func(account string, balance int, event projections.Event) (int, error) {
			t, err := projections.JSON[Transfer](event) // decoded once, however often it is asked for
			if err != nil {
				return balance, err
			}
			if account == t.From {
				return balance - t.Cents, nil
			}
			return balance + t.Cents, nil
		},
		Gone: func(balance int) bool { return balance == 0 },
	}
	store := map[string][]byte{"bank": []byte("100")}
	err := run(balances, store,
		order(1, `{"From":"bank","To":"ann","Cents":60}`),
		order(2, `{"From":"ann","To":"bob","Cents":60}`))
	fmt.Printf("bank %s, bob %s, %d accounts, %v\n", store["bank"], store["bob"], len(store), err)
	// Output: bank 40, bob 60, 2 accounts, <nil>
}

// The registry refuses what can't run, and says which projection it means.
func ExampleRegistry() {
	count := projections.Single[int]{
		Name: "count", Version: 1, Stream: "ORDERS",
		Step: func(n int, _ projections.Event) (int, error) { return n + 1, nil },
	}
	var registry projections.Registry
	fmt.Println(registry.Add(count))
	fmt.Println(registry.Add(count))
	elsewhere := count
	elsewhere.Stream = "BILLS"
	fmt.Println(registry.Add(elsewhere))
	// Output:
	// <nil>
	// projection "count" version 1: is registered twice: remove one
	// projection "count" version 1: is registered already, with another definition ("stream: ORDERS" against "stream: BILLS"): give the changed one a version of its own
}

// JSON decodes an event's data. What it gives is shared with all projections of the same batch: read it only.
func ExampleJSON() {
	type Order struct {
		Customer string   `json:"customer"`
		Items    []string `json:"items"`
	}
	o, err := projections.JSON[Order](order(1, `{"customer":"c-77","items":["a","b"],"note":"unknown members are fine"}`))
	fmt.Println(o.Customer, o.Items, err)
	_, err = projections.JSON[Order](order(2, `{"customer":"c-77","customer":"c-78"}`))
	fmt.Println(err != nil)
	// Output:
	// c-77 [a b] <nil>
	// true
}

// bitset is a codec of one's own: a set of small numbers, eight bytes each value.
type bitset struct{}

func (bitset) Name() string { return "bitset" }

func (bitset) Encode(set []int) ([]byte, error) {
	bits := make([]byte, 8)
	for _, n := range set {
		if n < 0 || n > 63 {
			return nil, fmt.Errorf("%d does not fit into a bitset", n)
		}
		bits[n/8] |= 1 << (n % 8)
	}
	return bits, nil
}

func (bitset) Decode(stored []byte) (set []int, err error) {
	for n := range 8 * len(stored) {
		if stored[n/8]&(1<<(n%8)) != 0 {
			set = append(set, n)
		}
	}
	return set, nil
}

// Values are stored as JSON unless a projection has a codec of its own, for protobuf, or as here for a few bits.
func ExampleCodec() {
	hours := projections.Single[[]int]{
		Name: "busy-hours", Version: 1, Stream: "ORDERS", Codec: bitset{},
		Step: func(hours []int, event projections.Event) ([]int, error) {
			hour := event.Time.Hour()
			if at, found := slices.BinarySearch(hours, hour); !found {
				hours = slices.Insert(hours, at, hour)
			}
			return hours, nil
		},
	}
	store := map[string][]byte{}
	err := run(hours, store, order(1, ""), order(2, ""))
	fmt.Println(store[""], err)
	// Output: [1 0 0 0 0 0 0 0] <nil>
}

// Where decoding costs too much, name the members that the fold reads: nothing else of the event is looked at, but that
// it is valid.
func ExampleFieldsOf() {
	type sale struct {
		Shop  string
		Cents int64
	}
	fields := projections.FieldsOf(
		projections.LentField("shop", func(s *sale) *string { return &s.Shop }), // a key: it is only looked at
		projections.Field("cents", func(s *sale) *int64 { return &s.Cents }),
	)
	turnover := projections.Keyed[int64]{
		Name: "turnover", Version: 1, Stream: "SALES",
		Key: func(event projections.Event) (string, error) {
			s, err := fields.JSON(event)
			return s.Shop, err
		},
		Step: func(_ string, total int64, event projections.Event) (int64, error) {
			s, err := fields.JSON(event)
			return total + s.Cents, err
		},
	}
	event := projections.Event{Seq: 1, Subject: "sales", Data: []byte(`{"id":7,"shop":"north","items":[{"sku":"a"}],"cents":250}`)}
	shop, _ := turnover.Key(event)
	total, _ := turnover.Step(shop, 100, event)
	fmt.Println(shop, total)
	// Output: north 350
}
