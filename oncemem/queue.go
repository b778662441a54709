package oncemem

import "slices"

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
		*q = append(*q, entry{due, r})
		r.place = int32(len(*q))
	}
	i := int(r.place) - 1
	(*q)[i].due = due
	if !q.up(i) {
		q.down(i)
	}
}

// remove takes the record out of the queue, if it is queued.
func (q *queue) remove(r *record) {
	if r.place == 0 {
		return
	}
	i, last := int(r.place)-1, len(*q)-1
	q.swap(i, last)
	(*q)[last] = entry{}
	*q = (*q)[:last]
	r.place = 0
	if i < last && !q.up(i) {
		q.down(i)
	}
}

func (q queue) up(i int) (moved bool) {
	for i > 0 {
		parent := (i - 1) / fanout
		if q[parent].due <= q[i].due {
			break
		}
		q.swap(i, parent)
		i, moved = parent, true
	}
	return moved
}

func (q queue) down(i int) {
	for {
		least := i
		for child := i*fanout + 1; child <= i*fanout+fanout && child < len(q); child++ {
			if q[child].due < q[least].due {
				least = child
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}

func (q queue) swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].r.place, q[j].r.place = int32(i+1), int32(j+1)
}

// shrink gives back memory that the queue no longer needs.
func (q *queue) shrink() { *q = slices.Clone(*q) }
