package proof

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func numbered(n int, change func(*kgo.Record)) *kgo.Record {
	r := &kgo.Record{Value: fmt.Appendf(nil, "line %d GET", n)}
	for _, h := range [][2]string{{"project", "lines"}, {"environment", "production"}, {"service", "writer"}, {"slot", "n1"}, {"node", "n1"}, {"stream", "stdout"},
		{"release", "r-1"}, {"seq", fmt.Sprint(n)}, {"ts", fmt.Sprint(time.Now().UnixNano())}} {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestATallyFindsWhatIsLostTwiceOrOutOfOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []*kgo.Record
		want    string
	}{
		{"all is well", []*kgo.Record{numbered(1, nil), numbered(2, nil), numbered(3, nil)}, ""},
		{"one is lost", []*kgo.Record{numbered(1, nil), numbered(3, nil)}, "line 3 came after line 1"},
		{"the last is lost", []*kgo.Record{numbered(1, nil), numbered(2, nil)}, "2 lines, want 3"},
		{"one is twice", []*kgo.Record{numbered(1, nil), numbered(2, nil), numbered(2, nil), numbered(3, nil)}, "line 2 came after line 2"},
		{"two have changed places", []*kgo.Record{numbered(2, nil), numbered(1, nil), numbered(3, nil)}, "line 2 came after line 0"},
		{"a header is wrong", []*kgo.Record{numbered(1, func(r *kgo.Record) { r.Headers[4].Value = []byte("n2") }), numbered(2, nil), numbered(3, nil)}, `header node is "n2", want "n1"`},
		{"a sequence has a gap", []*kgo.Record{numbered(1, nil), numbered(2, func(r *kgo.Record) { r.Headers[7].Value = []byte("3") }), numbered(3, nil)}, `header seq is "3"`},
		{"a line is marked", []*kgo.Record{numbered(1, func(r *kgo.Record) { r.Headers = append(r.Headers, kgo.RecordHeader{Key: "mark"}) }), numbered(2, nil), numbered(3, nil)}, "only a line"},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := &tally{writer: writer{node: "n1", id: "0123456789abcdef"}}
			for _, r := range c.records {
				one.take(r)
			}
			_, err := judge("t", map[string]*tally{"a": one}, 3)
			if got := fmt.Sprint(err); (err == nil) != (c.want == "") || !strings.Contains(got, c.want) && c.want != "" {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
