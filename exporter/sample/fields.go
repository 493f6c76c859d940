package sample

import (
	"strconv"
	"strings"
	"time"
)

// fields reads a line of a record from its front; once something is wrong, it stays bad.
type fields struct {
	rest string
	bad  bool
}

func (f *fields) word() string {
	word, rest, _ := strings.Cut(f.rest, " ")
	f.rest = rest
	return word
}

func (f *fields) integer() int64 {
	n, err := strconv.ParseInt(f.word(), 10, 64)
	f.bad = f.bad || err != nil
	return n
}

func (f *fields) number() uint64 {
	n, err := strconv.ParseUint(f.word(), 10, 64)
	f.bad = f.bad || err != nil
	return n
}

func (f *fields) numbers(into []uint64) {
	for i := range into {
		into[i] = f.number()
	}
}

func (f *fields) quoted() string {
	q, err := strconv.QuotedPrefix(f.rest)
	if err != nil {
		f.bad = true
		return ""
	}
	text, err := strconv.Unquote(q)
	f.bad = f.bad || err != nil
	f.rest = strings.TrimPrefix(f.rest[len(q):], " ")
	return text
}

func timeOf(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
