package redisstore

import "testing"

func TestPagesOfAScanFollowTheSizeOfValues(t *testing.T) {
	for _, c := range []struct {
		values string
		size   int   // of one field and its value
		want   int64 // fields that are asked for in the end
	}{
		{"small", 100, 1000},
		{"of 10 KB", 10 << 10, 64},
		{"of 100 KB", 100 << 10, 16},
		{"of 1 MB", 1 << 20, 4},
		{"bigger than a page may be", 8 << 20, 1},
	} {
		count := int64(64)
		for range 20 {
			count = nextCount(count, int(count)*c.size)
		}
		if count != c.want {
			t.Errorf("values %s: %d fields a page, want %d", c.values, count, c.want)
		}
	}
}
