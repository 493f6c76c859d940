package sample

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func page(t *testing.T, r *Recent) string {
	t.Helper()
	text, err := json.Marshal(r.Page())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func sampled(id string, cores float64, memory uint64) Sample {
	return Sample{Container: task(id, "1", "task-"+id, 0), CPUCores: cores, HasCores: cores > 0, WorkingSet: memory}
}

func TestRecentIsOldestFirstWithNullForWhatIsMissing(t *testing.T) {
	r := NewRecent(10 * time.Second)
	if got, want := page(t, r), `{"intervalSeconds":10,"end":"0001-01-01T00:00:00Z","containers":[]}`; got != want {
		t.Errorf("before the first round: %s", got)
	}
	runs := func(string) bool { return true }
	r.Add(at(0), []Sample{sampled("a", 0, 100)}, runs)
	r.Add(at(10), []Sample{sampled("a", 0.5, 200), sampled("b", 0, 7)}, runs)
	r.Add(at(30), []Sample{sampled("a", 1.5, 300)}, runs)
	want := `{"intervalSeconds":10,"end":"2023-11-14T22:13:50Z","containers":[` +
		`{"container":"a","task":"task-a","cpuCores":[null,0.5,null,1.5],"memoryBytes":[100,200,null,300]},` +
		`{"container":"b","task":"task-b","cpuCores":[null,null,null],"memoryBytes":[7,null,null]}]}`
	if got := page(t, r); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	r.Add(at(40), nil, func(id string) bool { return id == "b" })
	if got := page(t, r); strings.Contains(got, "task-a") || !strings.Contains(got, "task-b") {
		t.Errorf("one that has ended stays, or one that runs is gone: %s", got)
	}
}

func TestRecentHoldsNoMoreThanItsSpan(t *testing.T) {
	r := NewRecent(time.Minute)
	for i := range 40 {
		if i%7 == 3 {
			continue
		}
		r.Add(at(60*i), []Sample{sampled("a", float64(i), uint64(i))}, func(string) bool { return true })
	}
	c := r.Page().Containers[0]
	var got []string
	for _, m := range c.MemoryBytes {
		if m == nil {
			got = append(got, "-")
		} else {
			got = append(got, fmt.Sprint(*m))
		}
	}
	if text := strings.Join(got, " "); text != "25 26 27 28 29 30 - 32 33 34 35 36 37 - 39" {
		t.Error(text)
	}
	r.Add(at(0), []Sample{sampled("a", 1, 5)}, func(string) bool { return true })
	if c := r.Page().Containers[0]; len(c.MemoryBytes) != 1 || *c.MemoryBytes[0] != 5 {
		t.Errorf("after the clock was set back: %v", c.MemoryBytes)
	}
}
