package consumer

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// sameDefinition halts a unit whose snapshot was folded by another definition, and says what has changed.
//
// Where there is no snapshot, another partition's tells whether the stream was divided otherwise: under the same version
// keys would then stand in two partitions, with half of their events in each.
func (r *runner) sameDefinition(ctx context.Context, mark snapshotstore.Mark) *outcome {
	if mark.IsZero() {
		return r.sameAsSibling(ctx)
	}
	if mark.Fingerprint == r.u.fingerprint {
		return nil
	}
	was, err := keepTrying(ctx, r.u, StoreUnavailable, func(ctx context.Context) (string, error) {
		return r.u.worker.config.Store.Definition(ctx, r.u.id)
	})
	if err != nil {
		return r.failed(ctx, err)
	}
	return &outcome{verdict: &Verdict{Reason: Changed, WayOut: r.u.waysOut(Changed),
		Evidence: fmt.Sprintf("the snapshot of %s was folded by another definition: %s", r.u.id, changes(was, r.u.text))}}
}

// sameAsSibling holds another partition's snapshot against what this version says of that partition.
func (r *runner) sameAsSibling(ctx context.Context) *outcome {
	u, sibling := r.u, r.u.id
	sibling.Partition = 0
	if u.id.Partition == 0 {
		sibling.Partition = 1 // there may be one, from when there were more
	}
	was, err := keepTrying(ctx, u, StoreUnavailable, func(ctx context.Context) (string, error) {
		return u.worker.config.Store.Definition(ctx, sibling)
	})
	if err != nil {
		return r.failed(ctx, err)
	}
	is := u.stream.definition(u.definition, sibling.Partition)
	if was == "" || was == is {
		return nil
	}
	return &outcome{verdict: &Verdict{Reason: Changed, WayOut: u.waysOut(Changed),
		Evidence: fmt.Sprintf("%s has no snapshot, and that of %s was folded by another definition: %s", u.id, sibling, changes(was, is))}}
}

// changes names the lines that differ between two definitions.
func changes(was, is string) string {
	a, b := strings.Split(strings.TrimSpace(was), "\n"), strings.Split(strings.TrimSpace(is), "\n")
	count := map[string]int{}
	for _, line := range a {
		count[line]++
	}
	var added []string
	for _, line := range b {
		if count[line] > 0 {
			count[line]--
			continue
		}
		added = append(added, line)
	}
	var gone []string
	for _, line := range a {
		if count[line] > 0 {
			count[line]--
			gone = append(gone, line)
		}
	}
	aroundChanges(gone, added)
	return fmt.Sprintf("was [%s], is [%s]", strings.Join(gone, "; "), strings.Join(added, "; "))
}
