package pool

import "sort"

// interval is a run of numbers, both ends included.
type interval struct{ first, last uint32 }

// intervals is a set of numbers kept as sorted, disjoint, non-touching runs: a fresh pool of any size is one run, and
// the lowest free address is found without a search.
type intervals struct{ runs []interval }

// find is the index of the first run that ends at or after n.
func (s *intervals) find(n uint32) int {
	if len(s.runs) == 0 || s.runs[0].last >= n { // the common case: the first free address is taken
		return 0
	}
	return sort.Search(len(s.runs), func(i int) bool { return s.runs[i].last >= n })
}

func (s *intervals) has(n uint32) bool {
	i := s.find(n)
	return i < len(s.runs) && s.runs[i].first <= n
}

func (s *intervals) empty() bool { return len(s.runs) == 0 }

func (s *intervals) count() int {
	total := 0
	for _, r := range s.runs {
		total += int(r.last-r.first) + 1
	}
	return total
}

// remove takes [first, last] out of the set.
func (s *intervals) remove(first, last uint32) {
	i := s.find(first)
	j := i
	var rest []interval
	for j < len(s.runs) && s.runs[j].first <= last {
		r := s.runs[j]
		if r.first < first {
			rest = append(rest, interval{r.first, first - 1})
		}
		if r.last > last {
			rest = append(rest, interval{last + 1, r.last})
		}
		j++
	}
	if i == j {
		return
	}
	s.splice(i, j, rest)
}

// add puts [first, last] into the set, joining runs that it overlaps or touches.
func (s *intervals) add(first, last uint32) {
	from := first
	if from > 0 {
		from-- // a run that ends just before joins
	}
	i := s.find(from)
	j := i
	for j < len(s.runs) && (last == ^uint32(0) || s.runs[j].first <= last+1) {
		first = min(first, s.runs[j].first)
		last = max(last, s.runs[j].last)
		j++
	}
	s.splice(i, j, []interval{{first, last}})
}

// splice replaces runs[i:j].
func (s *intervals) splice(i, j int, with []interval) {
	if d := len(with) - (j - i); d == 0 {
		copy(s.runs[i:], with)
	} else if i == 0 && len(with) == 0 {
		s.runs = s.runs[j:]
	} else {
		tail := s.runs[j:]
		if d > 0 {
			tail = append([]interval(nil), tail...)
		}
		s.runs = append(append(s.runs[:i], with...), tail...)
	}
}

// up is the lowest member at or above n that is wanted.
func (s *intervals) up(n uint32, wanted func(uint32) bool) (uint32, bool) {
	for i := s.find(n); i < len(s.runs); i++ {
		for v := max(n, s.runs[i].first); ; v++ {
			if wanted(v) {
				return v, true
			}
			if v == s.runs[i].last {
				break
			}
		}
	}
	return 0, false
}

// down is the highest member at or below n that is wanted.
func (s *intervals) down(n uint32, wanted func(uint32) bool) (uint32, bool) {
	i := s.find(n)
	if i == len(s.runs) || s.runs[i].first > n {
		i--
	}
	for ; i >= 0; i-- {
		for v := min(n, s.runs[i].last); ; v-- {
			if wanted(v) {
				return v, true
			}
			if v == s.runs[i].first {
				break
			}
		}
	}
	return 0, false
}
