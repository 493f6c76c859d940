package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestEveryLineIsWrittenOnceInOrder(t *testing.T) {
	for _, rate := range []int{0, 20000} {
		t.Run(fmt.Sprintf("rate %d", rate), func(t *testing.T) {
			var out bytes.Buffer
			if err := write(t.Context(), &out, Config{Lines: 500, Size: 80, Rate: rate}); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != 500 {
				t.Fatalf("%d lines", len(lines))
			}
			for i, l := range lines {
				if !strings.HasPrefix(l, fmt.Sprintf("line %d ", i+1)) || len(l) != 80 {
					t.Fatalf("line %d is %q", i+1, l)
				}
			}
		})
	}
}

func TestWhoIsStoppedSaysAfterHowManyLines(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if err := write(ctx, &out, Config{Lines: 500, Rate: 1}); err != nil || out.String() != "line 1\nend after 1 lines\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestARateIsKept(t *testing.T) {
	c := Config{Rate: 500}
	for since, want := range map[time.Duration]int{0: 1, time.Second: 501, 20 * time.Second: 10001} {
		if got := c.due(since); got != want {
			t.Errorf("after %s: %d, want %d", since, got, want)
		}
	}
}

func TestSettingsThatCannotWorkAreAllNamed(t *testing.T) {
	err := Config{Lines: -1, Size: -1, Rate: -1}.Validate()
	for _, name := range []string{"LINES", "SIZE", "RATE"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s in it", err, name)
		}
	}
}
