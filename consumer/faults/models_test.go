package faults

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/tailfold/tailfold/projections"
)

// event is what is published: ids count from 1, so that a set of ids tells what was folded.
type event struct {
	ID     int    `json:"id"`
	From   string `json:"from"`
	To     string `json:"to"`
	Amount int    `json:"amount"`
	Close  bool   `json:"close,omitempty"` // the account From is closed: its key is gone
	Exit   bool   `json:"exit,omitempty"`  // folding it into total ends the process
	Also   int    `json:"also,omitempty"`  // so many more accounts are given the amount
}

// accounts are the keys of those that the event touches.
func (x event) accounts() []string {
	keys := []string{x.From, x.To}
	for i := range x.Also {
		keys = append(keys, "also "+strconv.Itoa(i))
	}
	return keys
}

type total struct {
	Events int `json:"events"`
	Sum    int `json:"sum"`
}

type account struct {
	Moves   int            `json:"moves"`
	Balance int            `json:"balance"`
	With    map[string]int `json:"with"`
	Closed  bool           `json:"closed,omitempty"`
}

// models are three projections: a Single that counts, accounts with two keys per event that come and go, and sets of ids.
func models() []projections.Projection {
	return []projections.Projection{
		projections.Single[total]{Name: "total", Version: 1, Stream: "EVENTS", Step: func(v total, e projections.Event) (total, error) {
			x, err := projections.JSON[event](e)
			if err != nil {
				return v, err
			}
			if x.Exit {
				os.Exit(3) // as a stack overflow or a fault in C code would: no deferred function runs
			}
			return total{v.Events + 1, v.Sum + x.Amount}, nil
		}},
		projections.Keyed[account]{Name: "accounts", Version: 1, Stream: "EVENTS",
			Keys: func(e projections.Event) ([]string, error) {
				x, err := projections.JSON[event](e)
				return x.accounts(), err
			},
			Seed: func() account { return account{With: map[string]int{}} },
			Step: func(key string, v account, e projections.Event) (account, error) {
				x, err := projections.JSON[event](e)
				if err != nil {
					return v, err
				}
				return x.apply(key, v), nil
			},
			Gone: func(v account) bool { return v.Closed },
		},
		projections.Keyed[[]int]{Name: "ids", Version: 1, Stream: "EVENTS",
			Key: func(e projections.Event) (string, error) {
				x, err := projections.JSON[event](e)
				return bucket(x.ID), err
			},
			Step: func(_ string, ids []int, e projections.Event) ([]int, error) {
				x, err := projections.JSON[event](e)
				if err != nil {
					return nil, err
				}
				return append(slices.Clone(ids), x.ID), nil
			},
		},
	}
}

func bucket(id int) string { return strconv.Itoa(id / 50) }

func (x event) apply(key string, v account) account {
	v.Moves++
	if key == x.From {
		v.Balance -= x.Amount
		v.With[x.To]++
		v.Closed = x.Close
	} else {
		v.Balance += x.Amount
		v.With[x.From]++
	}
	return v
}

// replayed is the plainest fold of the same models: no engine, no store, no projection machinery.
type replayed struct {
	sum      total
	accounts map[string]account
	sets     map[string][]int
}

func newReplayed() *replayed {
	return &replayed{accounts: map[string]account{}, sets: map[string][]int{}}
}

func (s *replayed) fold(x event) {
	s.sum.Events, s.sum.Sum = s.sum.Events+1, s.sum.Sum+x.Amount
	for _, key := range x.accounts() {
		v, ok := s.accounts[key]
		if !ok {
			v.With = map[string]int{}
		}
		if v = x.apply(key, v); v.Closed {
			delete(s.accounts, key)
		} else {
			s.accounts[key] = v
		}
	}
	s.sets[bucket(x.ID)] = append(s.sets[bucket(x.ID)], x.ID)
}

// value is an account, or, for the key "", the total; "" where there is none.
func (s *replayed) value(key string) string {
	if key == "" && s.sum.Events > 0 {
		return text(s.sum)
	}
	if v, ok := s.accounts[key]; ok {
		return text(v)
	}
	return ""
}

// replay is a full replay: each model's values by key.
func replay(events []event) map[string]map[string]string {
	s := newReplayed()
	for _, x := range events {
		s.fold(x)
	}
	want := map[string]map[string]string{"total": {}, "accounts": {}, "ids": {}}
	if sum := s.value(""); sum != "" {
		want["total"][""] = sum
	}
	for key := range s.accounts {
		want["accounts"][key] = s.value(key)
	}
	for key, ids := range s.sets {
		want["ids"][key] = text(ids)
	}
	return want
}

func text(v any) string {
	encoded, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// differences compares two models and names the first few keys that differ.
func differences(want, got map[string]string) string {
	var lines []string
	for key := range want {
		if got[key] != want[key] {
			lines = append(lines, fmt.Sprintf("%q is %s, want %s", key, got[key], want[key]))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			lines = append(lines, fmt.Sprintf("%q is %s, want none", key, got[key]))
		}
	}
	slices.Sort(lines)
	if n := len(lines); n > 5 {
		lines = append(lines[:5], fmt.Sprintf("and %d more", n-5))
	}
	return strings.Join(lines, "\n")
}
