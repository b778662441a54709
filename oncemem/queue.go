package oncemem

// A queue orders records by when they are over: a heap in which every node has four children,
// which is shallower than one of two and reads fewer cache lines (A. LaMarca and R. Ladner, "The
// influence of caches on the performance of heaps", 1996). Records know their place in it, so
// that they can be moved and removed.
type queue []entry

type entry struct {
	due instant
	r   *record
}

const fanout = 4

// first returns when the first record is over, or never.
func (q queue) first() instant {
	if len(q) == 0 {
		return never
	}
	return q[0].due
}

// set puts the record where due belongs, whether or not it was queued before.
func (q *queue) set(r *record, due instant) {
	if r.place == 0 {
		*q = append(*q, entry{})
		r.place = len(*q)
	}
	q.settle(r.place-1, entry{due, r})
}

// remove takes the record out of the queue, if it is queued.
func (q *queue) remove(r *record) {
	if r.place == 0 {
		return
	}
	gap, last := r.place-1, len(*q)-1
	moved := (*q)[last]
	(*q)[last] = entry{}
	*q = (*q)[:last]
	r.place = 0
	if gap < last {
		q.settle(gap, moved)
	}
	if cap(*q) > minSlots && last < cap(*q)/8 {
		*q = append(make(queue, 0, cap(*q)/2), *q...)
	}
}

// settle puts e into the gap at i, or moves the gap up or down to where e belongs.
func (q queue) settle(i int, e entry) {
	for i > 0 {
		parent := (i - 1) / fanout
		if q[parent].due <= e.due {
			break
		}
		q.put(i, q[parent])
		i = parent
	}
	for {
		least := i*fanout + 1
		if least >= len(q) {
			break
		}
		for child, end := least+1, min(least+fanout, len(q)); child < end; child++ {
			if q[child].due < q[least].due {
				least = child
			}
		}
		if e.due <= q[least].due {
			break
		}
		q.put(i, q[least])
		i = least
	}
	q.put(i, e)
}

func (q queue) put(i int, e entry) {
	q[i] = e
	e.r.place = i + 1
}
