package consumer

// Cached is what the units of a worker hold together, as its cache counts it.
func (w *Worker) Cached() int64 { return w.cache.total.Load() }

// Bounds are those of checkpoints now.
func (w *Worker) Bounds() CheckpointBounds { return w.bounds() }
