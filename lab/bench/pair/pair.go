// Package pair measures paths through a network in turns. It holds its connections open and sends small pieces over each
// path in rotation, so that a noisy neighbour hits all paths alike: figures are then compared round by round. It knows
// network namespaces, sockets and CPUs; it refuses to know what a path is made of, and draws no conclusion.
//
// It makes its traffic itself. iperf3 measures one path for whole seconds: on a machine with other work two such runs
// differ sixfold. Pieces of some 30 ms a path, in rotation, compare to 1 %. What the tool costs (one copy to and from the
// kernel for each 128 KiB, one system call a packet) is the same on every path, the host's own among them.
//
// The two ends are processes of their own, each on one CPU: Run starts this program twice with the words of Ends, and
// main has to hand those to End.
package pair

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Command is the first argument by which this program is asked to be an end; the second is server or client.
const Command = "pair-end"

const (
	server = "server"
	client = "client"
	// stallWithin bounds one piece: 64 MiB at 20 Mbit/s. A path that is slower is broken.
	stallWithin = 30 * time.Second
	// listenWithin bounds the start of the server's process.
	listenWithin = 20 * time.Second
)

// A Mode is one path: which namespaces its ends are in, and where the client finds the server.
type Mode struct {
	Name   string `json:"name"`
	Client string `json:"client"` // a path that holds a network namespace
	Server string `json:"server"`
	Listen string `json:"listen"` // host:port in the server's namespace
	Dial   string `json:"dial"`   // what the client dials
}

// A Job is one measurement.
type Job struct {
	Modes      []Mode `json:"modes"`
	Rounds     int    `json:"rounds"`
	Warmup     int    `json:"warmup"`  // rounds before those that count
	Chunk      int    `json:"chunk"`   // bytes a piece
	Pings      int    `json:"pings"`   // round trips a piece
	Streams    int    `json:"streams"` // connections that share another piece at once; 0: none
	Conns      int    `json:"conns"`   // connections made one after the other, a round trip each; 0: none
	Packets    int    `json:"packets"` // small UDP packets; 0: none
	Congestion string `json:"congestion"`
	OneCPU     bool   `json:"oneCPU"` // both ends on one CPU: the whole cost of the path; else one each
}

// A Result is what each path did, round by round.
type Result struct {
	Congestion string   `json:"congestion"` // as the kernel says it
	Series     []Series `json:"series"`     // in the order of the modes
}

// A Series is one path's samples; index i of all series is one round.
type Series struct {
	Name string    `json:"name"`
	Gbit []float64 `json:"gbit"` // Gbit/s of the piece
	P50  []float64 `json:"p50"`  // round trip in µs, of the round's pings
	P99  []float64 `json:"p99"`
	CPU  []float64 `json:"cpu"` // seconds of both ends and of the kernel's softirq threads, for each Gbit of the piece

	Many    []float64 `json:"many,omitempty"`    // Gbit/s of all streams together
	Conns   []float64 `json:"conns,omitempty"`   // connections a second
	Packets []float64 `json:"packets,omitempty"` // UDP packets a second that arrived
}

// Of finds the series of a mode.
func (r Result) Of(mode string) (Series, error) {
	for _, s := range r.Series {
		if s.Name == mode {
			return s, nil
		}
	}
	return Series{}, fmt.Errorf("no path %q was measured", mode)
}

// Run measures. It ends both processes before it returns.
func Run(ctx context.Context, j Job) (Result, error) {
	self, err := os.Executable()
	if err != nil {
		return Result{}, fmt.Errorf("measure paths: %w", err)
	}
	return j.run(ctx, func(ctx context.Context, end string) *exec.Cmd { return exec.CommandContext(ctx, self, Command, end) })
}

func (j Job) run(ctx context.Context, end func(context.Context, string) *exec.Cmd) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	text, err := json.Marshal(j)
	if err != nil {
		return Result{}, fmt.Errorf("measure paths: %w", err)
	}
	stop, err := listen(end(ctx, server), text)
	if err != nil {
		return Result{}, err
	}
	defer stop()
	cmd := end(ctx, client)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, &errs
	if err := cmd.Run(); err != nil {
		return Result{}, fmt.Errorf("measure paths: client: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("measure paths: the client's answer: %w", err)
	}
	return r, nil
}

// listen starts the server and waits until it listens in every mode. It serves until its input ends.
func listen(cmd *exec.Cmd, job []byte) (stop func(), err error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("measure paths: server: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("measure paths: server: %w", err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("measure paths: server: %w", err)
	}
	late := time.AfterFunc(listenWithin, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	_, werr := in.Write(append(job, '\n'))
	_, rerr := bufio.NewReader(out).ReadString('\n')
	stop = func() {
		_ = in.Close()
		_ = cmd.Wait() // it has served: how it ends matters to nobody
	}
	if werr != nil || rerr != nil {
		stop()
		return nil, fmt.Errorf("measure paths: the server does not listen: %w: %s", errors.Join(werr, rerr), strings.TrimSpace(errs.String()))
	}
	return stop, nil
}

// End is the other side of Run: which is server or client.
func End(which string, in io.Reader, out io.Writer) error {
	var j Job
	dec := json.NewDecoder(in)
	if err := dec.Decode(&j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	switch which {
	case server:
		return j.serve(io.MultiReader(dec.Buffered(), in), out)
	case client:
		return j.call(out)
	}
	return fmt.Errorf("%s %q: want %s or %s", Command, which, server, client)
}
