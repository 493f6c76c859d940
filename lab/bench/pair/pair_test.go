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
	j := Job{Chunk: 3*bufSize + 7}
	ended := make(chan error, 1)
	go func() { ended <- j.answer(theirs) }()
	head := bytes.Repeat([]byte{9}, headSize)
	head[0] = ping
	if _, err := ours.Write(head); err != nil {
		t.Fatal(err)
	}
	back := make([]byte, headSize)
	if _, err := io.ReadFull(ours, back); err != nil || !bytes.Equal(back, head) {
		t.Fatalf("ping came back as %v, %v", back, err)
	}
	head[0] = bulk
	if _, err := ours.Write(append(head, make([]byte, j.Chunk)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(ours, back[:1]); err != nil {
		t.Fatal(err)
	}
	_ = ours.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the server ended with %v, want the connection's end", err)
	}
}

func TestPieceMeasuresEveryRoundTrip(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	j := Job{Chunk: 1 << 20, Pings: 5}
	go j.answer(theirs)
	gbit, trips, err := j.piece(ours, make([]byte, bufSize))
	if err != nil || gbit <= 0 || len(trips) != 5 {
		t.Errorf("%v Gbit/s, %d round trips, %v", gbit, len(trips), err)
	}
	for _, trip := range trips {
		if trip <= 0 {
			t.Errorf("a round trip of %v", trip)
		}
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
