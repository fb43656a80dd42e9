package flights

import (
	"errors"

	"github.com/tailfold/tailfold/projections"
)

// Flight is one event.
type Flight struct {
	Date        string `json:"date"`     // of departure: "2001/01/01 00:47"
	Delay       int    `json:"delay"`    // minutes; negative: early
	Distance    int    `json:"distance"` // miles
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
}

// Route is what is known of the flights from one airport to another.
type Route struct {
	Flights   int     `json:"flights"`
	Miles     int     `json:"miles"`      // of one flight
	Delay     int     `json:"delay"`      // minutes of all flights
	MeanDelay float64 `json:"mean_delay"` // minutes
	Worst     int     `json:"worst"`      // minutes
	Last      string  `json:"last"`       // departure
}

// Routes is the projection with one Route per key: "ATL-DFW".
func Routes() projections.Projection {
	return projections.Keyed[Route]{
		Name: "routes", Version: 1, Stream: Stream,
		Immutable: true,
		Key: func(event projections.Event) (string, error) {
			flight, err := projections.JSON[Flight](event)
			if err != nil {
				return "", err
			}
			if flight.Origin == "" || flight.Destination == "" {
				return "", errors.New("the flight has no origin or no destination")
			}
			return flight.Origin + "-" + flight.Destination, nil
		},
		Step: func(_ string, route Route, event projections.Event) (Route, error) {
			flight, err := projections.JSON[Flight](event)
			if err != nil {
				return route, err
			}
			worst := flight.Delay
			if route.Flights > 0 {
				worst = max(worst, route.Worst)
			}
			flights, delay := route.Flights+1, route.Delay+flight.Delay
			return Route{Flights: flights, Miles: flight.Distance, Delay: delay, MeanDelay: float64(delay) / float64(flights),
				Worst: worst, Last: flight.Date}, nil
		},
	}
}
