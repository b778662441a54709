package oncemem

// Held returns how many records the store counts, and their bytes.
func (s *Store) Held() (records, bytes int64) { return s.records.Load(), s.bytes.Load() }

// Counted counts the records and their bytes.
func (s *Store) Counted() (records, bytes int64) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, slot := range sh.records.slots {
			if slot.r != nil {
				records++
				bytes += slot.r.bytes()
			}
		}
		sh.mu.Unlock()
	}
	return records, bytes
}
