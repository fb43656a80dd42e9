package consumer

import (
	"context"
	"fmt"
	"strings"

	"github.com/tailfold/tailfold/snapshotstore"
)

// sameDefinition halts a unit whose snapshot was folded by another definition, and says what has changed.
func (r *runner) sameDefinition(ctx context.Context, mark snapshotstore.Mark) *outcome {
	if mark.IsZero() || mark.Fingerprint == r.u.fingerprint {
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
