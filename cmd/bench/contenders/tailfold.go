package contenders

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tailfold/tailfold/projections"
)

// Totals is the projection of the contender "tailfold Go".
func Totals(stream string) projections.Projection { return totals(stream, "totals") }

// Padded is the same with values of size bytes at the least: blanks in front of the number.
func Padded(stream string, size int) projections.Projection {
	p := totals(stream, "totals")
	p.Codec = padded(size)
	return p
}

type padded int

func (padded) Name() string { return "padded" }

func (p padded) Encode(total int64) ([]byte, error) {
	return fmt.Appendf(nil, "%*d", int(p), total), nil
}

func (padded) Decode(stored []byte) (int64, error) {
	return strconv.ParseInt(strings.TrimLeft(string(stored), " "), 10, 64)
}

// Beside is the same on another stream.
func Beside(stream string) projections.Projection { return totals(stream, "beside") }

// Fans are n projections that differ in name, all folding the same type of event.
func Fans(stream string, n int) []projections.Projection {
	fans := make([]projections.Projection, n)
	for i := range fans {
		fans[i] = totals(stream, fmt.Sprintf("totals-%d", i))
	}
	return fans
}

var order = projections.FieldsOf(
	projections.LentField("customer", func(o *Order) *string { return &o.Customer }),
	projections.Field("amount", func(o *Order) *int64 { return &o.Amount }),
)

func totals(stream, name string) projections.Keyed[int64] {
	return projections.Keyed[int64]{
		Name: name, Version: 1, Stream: stream,
		Key: func(e projections.Event) (string, error) {
			o, err := order.JSON(e)
			return o.Customer, err
		},
		Step: func(_ string, total int64, e projections.Event) (int64, error) {
			o, err := order.JSON(e)
			return total + o.Amount, err
		},
	}
}

// Declared is the configuration of the contender "tailfold declared": the same in YAML.
func Declared(stream string) string {
	return fmt.Sprintf(`projections:
  - name: totals
    version: 1
    stream: %s
    key: event.customer
    seed: 0
    value: value + event.amount
`, stream)
}
