// Command own-binary is a team's own Tailfold: one projection written in Go, and the whole command line.
package main

import (
	"log"

	"github.com/tailfold/tailfold/cmd"
	"github.com/tailfold/tailfold/projections"
)

type order struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

type total struct {
	Orders int   `json:"orders"`
	Cents  int64 `json:"cents"`
}

var customerTotals = projections.Keyed[total]{
	Name: "customer-totals", Version: 1, Stream: "ORDERS",
	Key: func(event projections.Event) (string, error) {
		o, err := projections.JSON[order](event) // decoded once per event, also for Step and other projections
		if err != nil {
			return "", err
		}
		return o.Customer, nil
	},
	Step: func(_ string, t total, event projections.Event) (total, error) {
		o, err := projections.JSON[order](event)
		if err != nil {
			return t, err
		}
		return total{Orders: t.Orders + 1, Cents: t.Cents + o.Cents}, nil
	},
}

func main() {
	var registry projections.Registry
	if err := registry.Add(customerTotals); err != nil {
		log.Fatal(err)
	}
	cmd.Main(&registry)
}
