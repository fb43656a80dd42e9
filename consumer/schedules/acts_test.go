package schedules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tailfold/tailfold/consumer/logtest"
	"github.com/tailfold/tailfold/projections"
	"github.com/tailfold/tailfold/snapshotstore"
)

// theme is which kind of fault a schedule has beside crashes and bad weather. What a log that is trimmed and one that is
// made again look like together can't always be told apart (DESIGN: the honest limit), so a schedule has one of the two.
type theme int

const (
	plainTheme theme = iota
	trimTheme
	remakeTheme
	storeTheme
	haltTheme // events that can't be folded halt their unit
	themes
)

// schedule is one random run.
type schedule struct {
	*world
	d       *dice
	theme   theme
	remade  int
	backups []backup
	nonce   int
	big     bool // a value is too large
}

type backup struct {
	unit    snapshotstore.Unit
	restore func()
	shadow  shadow
}

// run plays one schedule.
func (w *world) run() {
	s := &schedule{world: w, d: w.dice("schedule")}
	s.theme = theme(s.d.below(int(themes)))
	w.partitions = 1 + s.d.below(3)
	if s.d.below(2) == 0 {
		w.partitions = 1
	}
	if s.d.below(3) == 0 {
		w.members = logtest.NewMembers()
		w.members.SetClock(w.wall)
	}
	w.policy = projections.Skip
	if s.theme == haltTheme {
		w.policy = projections.Halt
	}
	w.cache = []int{-1, 500, 0}[s.d.below(3)] // nothing, about one key, the default
	w.bytes = 200 + s.d.below(4000)
	w.log.SetMaxBatch(1 + s.d.below(64))
	w.lives = []*history{newHistory(w.partitions)}
	s.note("schedule", "theme", fmt.Sprint(s.theme, " partitions ", w.partitions, " leases ", w.members != nil, " cache ", w.cache))
	for i := range 20 + s.d.below(40) {
		if s.failed() {
			return
		}
		if quiet := i/5%4 == 3; quiet { // five of twenty
			if i%5 == 0 {
				s.heal()
			}
			s.act(s.d.below(49))
		} else {
			s.act(s.d.below(100))
		}
		time.Sleep(s.d.duration(time.Microsecond, 40*time.Millisecond))
	}
	s.heal()
	if len(w.workers) == 0 {
		w.start()
	}
	time.Sleep(s.d.duration(time.Second, 2*time.Second))
	for range 3 { // something to make progress with
		s.publish()
		time.Sleep(s.d.duration(time.Microsecond, 60*time.Microsecond))
	}
	time.Sleep(patience + s.d.duration(0, time.Millisecond))
	if !s.failed() {
		w.judge()
	}
}

// patience is how long all may take after everything has healed: an owner that is gone is found out by that it makes no
// progress, a halted unit looks again now and then, and the last late commit has arrived.
const patience = 75 * time.Second

func (s *schedule) heal() {
	s.note("schedule", "heal", "")
	s.log.Reconnect()
	for _, x := range s.workers {
		x.line.set(weather{})
		if x.member != nil {
			x.member.Lose(false)
		}
	}
}

// act does the n-th of a hundred things. Up to 49 they are harmless.
func (s *schedule) act(n int) {
	switch {
	case n < 34:
		for range s.d.below(1 + s.d.below(80)) {
			s.publish()
			time.Sleep(s.d.duration(time.Microsecond, 60*time.Microsecond))
		}
	case n < 46:
		time.Sleep(s.d.duration(time.Millisecond, 900*time.Millisecond))
	case n < 49:
		time.Sleep(s.d.duration(time.Second, 15*time.Second))
	case n < 60:
		if len(s.workers) < 3 {
			s.note("schedule", "start", "")
			s.start()
		}
	case n < 68:
		if len(s.workers) > 0 {
			i, killed := s.d.below(len(s.workers)), s.d.below(3) > 0
			s.note("schedule", "end", fmt.Sprint(i, " killed ", killed))
			s.leave(i, killed)
		}
	case n < 76:
		s.storm()
	case n < 79:
		for _, x := range s.workers {
			x.line.set(weather{})
		}
	case n < 81:
		s.note("schedule", "disconnect", "")
		s.log.Disconnect()
	case n < 84:
		s.log.Reconnect()
	case n < 86:
		s.note("schedule", "end readers", "")
		s.log.EndReaders(errors.New("a delivery was missed"))
	case n < 89:
		s.setClock()
	case n < 92:
		if len(s.workers) > 0 {
			if x := s.workers[s.d.below(len(s.workers))]; x.member != nil {
				x.member.Lose(s.d.below(2) == 0)
			}
		}
	default:
		s.special()
	}
}

// storm is bad weather for one worker.
func (s *schedule) storm() {
	if len(s.workers) == 0 {
		return
	}
	w := weather{}
	for _, p := range []*float64{&w.fail, &w.lose, &w.late, &w.dup, &w.read} {
		if s.d.below(2) == 0 {
			*p = float64(s.d.below(50)) / 100
		}
	}
	i := s.d.below(len(s.workers))
	s.note("schedule", "storm", fmt.Sprint(i, w))
	s.workers[i].line.set(w)
}

func (s *schedule) setClock() {
	by := []time.Duration{time.Hour, -time.Hour, 0}[s.d.below(3)]
	s.note("schedule", "clock", by.String())
	s.clockMu.Lock()
	defer s.clockMu.Unlock()
	s.skew += by
	s.jumps++
	if s.frozen = (time.Time{}); by == 0 {
		s.frozen = time.Now().Add(s.skew)
	}
}

func (s *schedule) publish() {
	d := deed{part: s.d.below(s.partitions), kind: []string{"add", "sub", "move"}[s.d.below(3)], n: s.d.below(1000)}
	for range 1 + s.d.below(3) {
		key := fmt.Sprint("k", s.d.below(6))
		if !strings.Contains(strings.Join(d.keys, " "), key) {
			d.keys = append(d.keys, key)
		}
	}
	odds := 60
	if s.theme == haltTheme {
		odds = 800
	}
	switch n := s.d.below(odds); {
	case n < odds/10:
		if !s.big { // a value that is too large, and gone before the next checkpoint, halts nothing
			d.do = "delete"
		}
	case n == odds-1:
		d.do = "fail"
	case n == odds-2:
		d.do = "panic"
	case n == odds-3:
		d.do = "broken"
	case n == odds-4 && s.theme == haltTheme:
		d.do, s.big = "big", true
	case n == odds-5:
		d.part = -1
	}
	s.nonce++ // no two events are alike
	d.subject = fmt.Sprintf("deeds.%d.%s", d.part, d.kind)
	d.data = fmt.Appendf(nil, `{"keys":["%s"],"n":%d,"kind":%q,"do":%q,"nonce":%d}`, strings.Join(d.keys, `","`), d.n, d.kind, d.do, s.nonce)
	if d.part < 0 {
		d.subject = "others." + d.kind
	}
	if d.do == "broken" {
		d.data = d.data[:len(d.data)/2]
		d.data = fmt.Appendf(d.data, " %d", s.nonce)
	}
	d.hash = witnessHash(d)
	s.mu.Lock()
	s.lives[len(s.lives)-1].add(d, s.policy == projections.Skip)
	s.mu.Unlock()
	s.log.Append(d.subject, projections.Header{}, d.data)
}

// special does what the schedule's theme is about.
func (s *schedule) special() {
	s.mu.Lock()
	defer s.mu.Unlock()
	life := s.lives[len(s.lives)-1]
	all := units(s.partitions)
	unit := all[s.d.below(len(all))]
	switch s.theme {
	case trimTheme:
		lowest := life.last()
		for _, u := range all {
			lowest = min(lowest, s.shadows[u].mark.Seq)
		}
		if s.d.below(4) == 0 { // rarely past what is folded
			lowest = life.last()
			upTo := uint64(s.d.below(int(lowest) + 1))
			s.note("schedule", "purge", fmt.Sprint(upTo, " of ", lowest))
			s.log.Purge(upTo)
			for seq := uint64(1); seq <= upTo; seq++ {
				s.deleted[seq] = true
			}
			return
		}
		for range s.d.below(4) {
			if lowest > 0 {
				seq := lowest - uint64(s.d.below(int(min(lowest, 5))))
				s.note("schedule", "delete", fmt.Sprint(seq))
				s.log.Delete(seq)
				s.deleted[seq] = true
			}
		}
	case remakeTheme:
		s.remake(life)
	case storeTheme:
		s.spoil(unit)
	}
}

// remake puts the log back to an earlier point, or makes it anew.
func (s *schedule) remake(life *history) {
	if s.remade++; s.remade > 2 {
		return
	}
	keep := 0
	if s.d.below(2) == 0 {
		s.log.Recreate(created.Add(time.Duration(s.remade) * time.Second))
	} else {
		keep = s.d.below(int(life.last()) + 1)
		s.log.RestoreTo(uint64(keep))
	}
	s.note("schedule", "remake", fmt.Sprint(keep, " of ", life.last()))
	next := newHistory(s.partitions)
	for _, d := range life.deeds[:keep] {
		next.add(d, s.policy == projections.Skip)
	}
	s.lives = append(s.lives, next)
}

// spoil flushes a snapshot, damages one of its values, or puts it back to an earlier one.
func (s *schedule) spoil(unit snapshotstore.Unit) {
	shadow := s.shadows[unit]
	switch n := s.d.below(5); {
	case n < 2:
		s.backups = append(s.backups, backup{unit, s.store.Backup(unit), shadow.clone()})
	case n == 2 && len(s.backups) > 0:
		b := s.backups[s.d.below(len(s.backups))]
		s.note("schedule", "restore", fmt.Sprint(b.unit, " to ", b.shadow.mark.Seq))
		b.restore()
		s.shadows[b.unit] = b.shadow.clone()
	case n == 3:
		s.note("schedule", "flush", unit.String())
		if err := s.store.Drop(context.Background(), unit); err != nil {
			s.fail("%v", err)
		}
		delete(s.shadows, unit)
	case n == 4 && shadow.damage == 0:
		key := fmt.Sprint("k", s.d.below(6))
		if unit.Projection == "count" {
			key = ""
		}
		if !s.store.SetValue(unit, key, []byte(`{"ev`)) {
			return
		}
		s.note("schedule", "damage", unit.String()+" "+key)
		was := shadow.clone()
		was.damage = entryHash(key, was.values[key]) ^ entryHash(key, `{"ev`)
		was.state ^= was.damage
		was.key, was.values[key] = key, `{"ev`
		s.shadows[unit], s.damaged[unit] = was, true
	}
}
