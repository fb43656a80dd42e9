package dev

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tailfold/tailfold/projections"
)

func TestTemplateMakesASubjectOfAnEventsMembers(t *testing.T) {
	event := []byte(`{"type":"placed","n":7,"sure":true,"customer":{"id":"c-1","name":"A B"},"price":1.5,"none":null,"empty":"","list":[]}`)
	for _, c := range []struct{ template, want, problem string }{
		{"orders", "orders", ""},
		{"orders.{type}", "orders.placed", ""},
		{"orders.{type}.{customer.id}", "orders.placed.c-1", ""},
		{"{type}", "placed", ""},
		{"orders.c{n}-{sure}.x", "orders.c7-true.x", ""},
		{"orders.{kind}", "", "member kind is missing"},
		{"orders.{type.id}", "", "member type.id is missing"},
		{"orders.{customer.name}", "", `is "A B"`},
		{"orders.{price}", "", `is "1.5"`},
		{"orders.{none}", "", "is null"},
		{"orders.{empty}", "", `is ""`},
		{"orders.{list}", "", "neither a text nor a number"},
	} {
		template, err := parseTemplate(c.template)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		got, err := template.of(event)
		switch {
		case c.problem == "" && (err != nil || got != c.want):
			t.Errorf("%s gives %q, %v, want %q", c.template, got, err, c.want)
		case c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s gives %q, %v, want an error with %q", c.template, got, err, c.problem)
		case err == nil && !projections.MatchSubject(template.pattern(), got):
			t.Errorf("%s: the pattern %s does not match %s", c.template, template.pattern(), got)
		}
	}
}

func TestTemplatesThatCantMakeASubjectAreRefused(t *testing.T) {
	for _, text := range []string{"", "orders.{}", "orders.{type", "orders.{a..b}", "orders.{.a}", "orders.*", "orders.>", "orders..x", "a b", ".a", "a."} {
		if _, err := parseTemplate(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestStreamGetsAllSubjectsButNoTwoThatOverlap(t *testing.T) {
	for _, c := range []struct {
		add  []string
		want []string
	}{
		{[]string{"orders.>"}, []string{"orders.>"}},
		{[]string{"orders.>", "orders.placed"}, []string{"orders.>"}},
		{[]string{"orders.placed", "orders.>"}, []string{"orders.>"}},
		{[]string{"orders.placed", "orders.paid", "orders.*"}, []string{"orders.*"}},
		{[]string{"orders.*.eu", "orders.placed.*"}, []string{"orders.>"}},
		{[]string{"orders.*.eu", "stock.>", "orders.placed.*", "orders.x.eu"}, []string{"orders.>", "stock.>"}},
		{[]string{"b", "a"}, []string{"a", "b"}},
	} {
		var subjects []string
		for _, subject := range c.add {
			subjects = addSubject(subjects, subject)
		}
		if diff := cmp.Diff(c.want, subjects); diff != "" {
			t.Errorf("%v: %s", c.add, diff)
		}
	}
}

func TestExampleSubjectPassesItsFilter(t *testing.T) {
	for _, filter := range []string{"orders.>", "orders.*.eu", "orders.placed", "*.x.>"} {
		if subject := exampleSubject(filter); !projections.MatchSubject(filter, subject) || strings.ContainsAny(subject, "*>") {
			t.Errorf("%s gives %s", filter, subject)
		}
	}
}
