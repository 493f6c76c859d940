// Command lines writes numbered lines to its standard output and then waits for its end, so that whoever carries lines
// elsewhere can be asked for every one of them. It knows nothing of Docker or Kafka.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := ReadConfig()
	if err == nil {
		err = write(ctx, os.Stdout, config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
	<-ctx.Done()
}

// tick is how often lines are written where a rate is asked for.
const tick = 10 * time.Millisecond

// write writes the lines. If the context ends before the last one, it says after how many.
func write(ctx context.Context, to io.Writer, c Config) error {
	out := bufio.NewWriterSize(to, 64<<10)
	began := time.Now()
	for n := 1; n <= c.Lines; n++ {
		if due := c.due(time.Since(began)); c.Rate > 0 && n > due {
			if err := out.Flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				_, err := fmt.Fprintf(to, "end after %d lines\n", n-1)
				return err
			case <-time.After(tick):
			}
			n--
			continue
		}
		if _, err := out.WriteString(line(n, c.Size) + "\n"); err != nil {
			return err
		}
	}
	return out.Flush()
}

// due is how many lines should have been written by then.
func (c Config) due(since time.Duration) int {
	return 1 + int(since.Seconds()*float64(c.Rate))
}

// line is a number, and what fills the line up.
func line(n, size int) string {
	text := fmt.Sprintf("line %d ", n)
	if len(text) >= size {
		return strings.TrimSpace(text)
	}
	const filler = "GET /orders/4711 status=200 upstream=10.210.3.7:8080 took=1.7ms cache=miss trace=9f3c2a51 "
	for len(text) < size {
		text += filler[:min(len(filler), size-len(text))]
	}
	return text
}
