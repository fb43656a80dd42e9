// Package declared is projections written in YAML: a read model from the stock binary, without Go.
//
// An entry names a stream, the keys that an event touches and what becomes of their values:
//
//	projections:
//	- name: customer-totals
//	  version: 1
//	  stream: ORDERS
//	  when: event.type == "OrderPlaced"
//	  key: event.customer
//	  seed: {orders: 0, cents: 0}
//	  value:
//	    orders: value.orders + 1
//	    cents: value.cents + scaled(event.amount, 2)
//
// [Parse] checks and compiles such entries into values that implement [projections.Projection]; [ParseTests] reads the
// tests beside them. The language has expr's grammar (github.com/expr-lang/expr) and its own evaluation: integers are
// exact 64-bit, overflow and nil in arithmetic are POISON, maps are sorted, sorts are stable, there is no clock, no zone
// and no randomness, and an event's cost is bounded. So the same events give the same bytes on every machine, whether a
// value stayed in memory or came back from the store.
//
// An event is checked strictly (no name twice, no bad UTF-8); only the paths in it that expressions name are decoded, once
// for all projections of a stream that were parsed together.
package declared
