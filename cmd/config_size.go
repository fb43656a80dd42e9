package cmd

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written with a unit: 64KiB, 1MiB, 2GiB, 500kB, or a bare number of bytes.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// ParseSize reads what String writes, and the decimal units besides.
func ParseSize(text string) (Size, error) {
	number := strings.TrimRight(text, "KMGTkiB")
	unit := strings.TrimPrefix(text, number)
	for _, u := range sizeUnits {
		if u.name != unit {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		bytes := n * u.bytes
		switch {
		case err != nil || math.IsNaN(n) || strings.ContainsAny(number, "xXpP_"):
			return 0, fmt.Errorf("%q is no size: write a number and a unit, such as 1MiB", text)
		case n < 0:
			return 0, fmt.Errorf("%q is less than nothing: write a number and a unit, such as 1MiB", text)
		case bytes >= math.MaxInt64:
			return 0, fmt.Errorf("%q is more than 8EiB: write less", text)
		case bytes != math.Trunc(bytes):
			return 0, fmt.Errorf("%q is no whole number of bytes", text)
		}
		return Size(bytes), nil
	}
	return 0, fmt.Errorf("%q has an unknown unit: use KiB, MiB, GiB, kB, MB or GB, such as 1MiB", text)
}

// String writes a size with the largest binary unit that keeps it whole.
func (s Size) String() string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if bytes := Size(1) << (40 - 10*i); s != 0 && s%bytes == 0 {
			return strconv.FormatInt(int64(s/bytes), 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// parseDuration is time.ParseDuration with an error that says what to write.
func parseDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err == nil && d < 0:
		return 0, fmt.Errorf("%q is negative: write a time such as 250ms", text)
	case err == nil:
		return d, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%q has no unit: write %sms, %ss or %sm", text, text, text, text)
	}
	return 0, fmt.Errorf("%q is no time: write a number and a unit, such as 250ms, 5s or 1m", text)
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errors.New("write true or false")
}
