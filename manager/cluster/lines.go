package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"
)

// linesWithin: Swarm's log broker waits without limit for a node that is away.
const linesWithin = 5 * time.Second

// Lines gives the last n lines of a task by way of Swarm. It works only while the container is there and its log driver can
// read back (json-file, local, journald, rolling/log).
func (s *Swarm) Lines(ctx context.Context, at Place, n int) ([]string, error) {
	if at.Task == "" {
		return nil, errors.New("last lines: no task is named")
	}
	ctx, cancel := context.WithTimeout(ctx, linesWithin)
	defer cancel()
	logs, err := s.api.TaskLogs(ctx, at.Task, client.TaskLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: strconv.Itoa(n)})
	if err != nil {
		return nil, fmt.Errorf("last lines of task %s: %w", at.Task, err)
	}
	defer logs.Close() //nolint:errcheck // it was only read
	lines, err := readLines(logs)
	if err != nil && len(lines) == 0 {
		return nil, fmt.Errorf("last lines of task %s: %w", at.Task, err)
	}
	return lines[max(0, len(lines)-n):], nil
}

// readLines takes the two streams apart. They come in turns, so they are put in order again by the time before each line,
// which is then cut off. A terminal's stream is not framed, and is taken as it is.
func readLines(r io.Reader) ([]string, error) {
	const most = 1 << 20
	var out, raw strings.Builder
	limited := io.TeeReader(io.LimitReader(r, most), &raw)
	_, err := stdcopy.StdCopy(&out, &out, limited)
	text := out.String()
	if err != nil && text == "" && raw.Len() > 0 && raw.String()[0] > 3 {
		rest, readErr := io.ReadAll(io.LimitReader(r, most))
		text, err = raw.String()+string(rest), readErr
	}
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		stamp, rest, _ := strings.Cut(s.Text(), " ")
		at, bad := time.Parse(time.RFC3339Nano, stamp)
		if bad != nil {
			rest = s.Text()
		}
		lines = append(lines, line{at, strings.TrimRight(rest, "\r")})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var texts []string
	for _, l := range lines {
		texts = append(texts, l.text)
	}
	return texts, err
}
