package pair

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asEnd makes this test binary an end.
const asEnd = "ROLLING_PAIR_TEST_END"

func TestMain(m *testing.M) {
	if end := os.Getenv(asEnd); end != "" {
		if err := End(end, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func endOf(ctx context.Context, which string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), asEnd+"="+which)
	return cmd
}

func TestTheServerAnswersPingsAndPieces(t *testing.T) {
	ours, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- answer(theirs) }()
	buf := make([]byte, bufSize)
	for _, size := range []int{3*bufSize + 7, 1} {
		if _, err := push(ours, buf, size); err != nil {
			t.Fatal(err)
		}
	}
	trips, err := pingPiece(ours, buf, 5)
	if err != nil || len(trips) != 5 {
		t.Errorf("%d round trips, %v", len(trips), err)
	}
	for _, trip := range trips {
		if trip <= 0 {
			t.Errorf("a round trip of %v", trip)
		}
	}
	gbit, cpu, err := bulkPiece(ours, buf, 1<<20, nil)
	if err != nil || gbit <= 0 || cpu <= 0 {
		t.Errorf("%v Gbit/s, %v CPU s a Gbit, %v", gbit, cpu, err)
	}
	_ = ours.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server ended with %v, want the connection's end", err)
	}
}

func TestStreamsShareAPiece(t *testing.T) {
	var all []net.Conn
	for range 3 {
		ours, theirs := net.Pipe()
		defer ours.Close()
		go answer(theirs)
		all = append(all, ours)
	}
	if gbit, err := manyPiece(all, make([]byte, bufSize), 1<<20); err != nil || gbit <= 0 {
		t.Errorf("%v Gbit/s, %v", gbit, err)
	}
	_ = all[1].Close()
	if _, err := manyPiece(all, make([]byte, bufSize), 1<<20); err == nil {
		t.Error("a stream that ended is not missed")
	}
}

// It needs no other namespace than the process's own: the job fails before it measures.
func TestAJobThatCannotStartSaysWhere(t *testing.T) {
	j := Job{Modes: []Mode{{Name: "host", Client: "/proc/self/ns/net", Server: "/no/namespace", Listen: "127.0.0.1:0", Dial: "127.0.0.1:1"}},
		Rounds: 1, Chunk: 1, Congestion: "reno", OneCPU: true}
	_, err := j.run(t.Context(), endOf)
	if err == nil || !strings.Contains(err.Error(), "path host: listen") || !strings.Contains(err.Error(), "/no/namespace") {
		t.Errorf("got %v", err)
	}
}

func TestEndRefusesAnotherWord(t *testing.T) {
	job, err := json.Marshal(Job{})
	if err != nil {
		t.Fatal(err)
	}
	if err := End("middle", bytes.NewReader(job), io.Discard); err == nil || !strings.Contains(err.Error(), `"middle"`) {
		t.Errorf("got %v", err)
	}
}

func TestNthCPU(t *testing.T) {
	var set unix.CPUSet
	set.Set(3)
	set.Set(64)
	for _, c := range []struct{ skip, want int }{{0, 3}, {1, 64}} {
		if got, err := nth(&set, c.skip); err != nil || got != c.want {
			t.Errorf("after %d others: CPU %d, %v, want %d", c.skip, got, err, c.want)
		}
	}
	if _, err := nth(&set, 2); err == nil || !strings.Contains(err.Error(), "may use 2 CPUs") {
		t.Errorf("a third CPU of two: %v", err)
	}
}

func TestOfFindsASeries(t *testing.T) {
	r := Result{Series: []Series{{Name: "host"}, {Name: "rolling", Gbit: []float64{1}}}}
	if s, err := r.Of("rolling"); err != nil || len(s.Gbit) != 1 {
		t.Errorf("got %+v, %v", s, err)
	}
	if _, err := r.Of("overlay"); err == nil {
		t.Error("a path that was not measured was found")
	}
}
