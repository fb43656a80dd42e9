package redisstore

// BulkFrom has checkpoints of so many puts and more tried as a bulk.
func (s *Store) BulkFrom(n int) { s.bulkFrom = n }

// ForgetScript is the hash by which the script that removes announcements is called.
var ForgetScript = forgetScript.Hash()
