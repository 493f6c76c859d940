// Package route decides where a container's lines go and how they look there: topic, key, headers and value, from the
// container's labels and log options. It knows names and templates; it knows no Kafka, no file and no engine.
package route

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolling-swarm/rolling/internal/contract"
)

// OnFull is what happens to lines when a container's spool is full.
type OnFull string

// The policies.
const (
	DropOldest OnFull = "drop-oldest"
	DropNewest OnFull = "drop-newest"
	Block      OnFull = "block" // the container waits: its writes block
)

// Format is how a record's value looks.
type Format string

// The formats.
const (
	Raw  Format = "raw"
	JSON Format = "json"
)

// Limits are the settings that options default to and are bound by.
type Limits struct {
	SpoolMax int64 // default of spool-max
	Whole    int64 // bound of the whole spool
}

const (
	// DefaultMaxLine leaves room in Kafka's default of 1 MB for a record.
	DefaultMaxLine = 512 << 10
	leastMaxLine   = 1 << 10
	mostMaxLine    = 16 << 20
	// LeastSpool is the smallest spool-max: a few segments.
	LeastSpool = 1 << 20
)

// options are log options, read.
type options struct {
	topic, key   string
	format       Format
	onFull       OnFull
	spoolMax     int64
	maxLine      int
	begins       string
	labels, envs selection
	tag          string
}

// selection names labels or variables: by name, and by a pattern.
type selection struct {
	names   []string
	pattern *regexp.Regexp
}

func (s selection) has(name string) bool {
	return slices.Contains(s.names, name) || s.pattern != nil && s.pattern.MatchString(name)
}

// readOptions reads all of them and reports all problems at once.
func readOptions(given map[string]string, limits Limits) (options, error) {
	o := options{
		topic: contract.LogTopicDefault, key: defaultKey, format: Raw, onFull: DropOldest,
		spoolMax: limits.SpoolMax, maxLine: DefaultMaxLine,
	}
	var problems []error
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := o.set(name, given[name], limits); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
		}
	}
	if len(problems) == 0 {
		return o, nil
	}
	word := "problems"
	if len(problems) == 1 {
		word = "problem"
	}
	text := strings.ReplaceAll(errors.Join(problems...).Error(), "\n", "\n  ")
	return o, fmt.Errorf("log options: %d %s\n  %s", len(problems), word, text)
}

func (o *options) set(name, value string, limits Limits) (err error) {
	switch name {
	case contract.LogTopic:
		o.topic = value
		return checkTemplate(value, fields{})
	case contract.LogKey:
		o.key = value
		return checkTemplate(value, fields{})
	case contract.LogFormat:
		o.format, err = oneOf(value, Raw, JSON)
	case contract.LogOnFull:
		o.onFull, err = oneOf(value, DropOldest, DropNewest, Block)
	case contract.LogSpoolMax:
		if o.spoolMax, err = Size(value); err == nil && (o.spoolMax < LeastSpool || o.spoolMax > limits.Whole) {
			err = fmt.Errorf("%q: want 1m to %d (the bound of the whole spool)", value, limits.Whole)
		}
	case contract.LogMaxLine:
		var size int64
		if size, err = Size(value); err == nil && (size < leastMaxLine || size > mostMaxLine) {
			err = fmt.Errorf("%q: want 1k to 16m", value)
		}
		o.maxLine = int(size)
	case contract.LogMultilineStart:
		o.begins = value
		_, err = pattern(value)
	default:
		return o.setDockers(name, value)
	}
	return err
}

// setDockers takes the engine's own options. How the engine itself acts on mode, max-buffer-size and cache-* is its
// business: they come along.
func (o *options) setDockers(name, value string) (err error) {
	switch name {
	case "labels":
		o.labels.names = strings.Split(value, ",")
	case "env":
		o.envs.names = strings.Split(value, ",")
	case "labels-regex":
		o.labels.pattern, err = pattern(value)
	case "env-regex":
		o.envs.pattern, err = pattern(value)
	case "tag":
		o.tag = value
		err = checkTemplate(value, tagFields{})
	case "mode":
		_, err = oneOf(value, "blocking", "non-blocking")
	case "max-buffer-size":
		_, err = Size(value)
	default:
		known := append(contract.LogOptions(), contract.DockersLogOptions()...)
		if slices.Contains(known, name) {
			return nil
		}
		return fmt.Errorf("is not a log option of rolling/log%s", didYouMean(name, known))
	}
	return err
}

func oneOf[T ~string](value string, known ...T) (T, error) {
	if slices.Contains(known, T(value)) {
		return T(value), nil
	}
	words := make([]string, len(known))
	for i, k := range known {
		words[i] = string(k)
	}
	return known[0], fmt.Errorf("%q: want %s%s", value, strings.Join(words, ", "), didYouMean(value, words))
}

func didYouMean(word string, known []string) string {
	if near := contract.Nearest(word, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}

func pattern(text string) (*regexp.Regexp, error) {
	p, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", text, err)
	}
	return p, nil
}

// Size reads a number of bytes as Docker writes it: 64m is 64 times 1024 times 1024.
func Size(text string) (int64, error) {
	number := strings.TrimSuffix(strings.ToLower(strings.TrimSpace(text)), "b")
	shift := 0
	if number != "" {
		if at := strings.IndexByte("kmgt", number[len(number)-1]); at >= 0 {
			number, shift = number[:len(number)-1], 10*(at+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is not a size: want a number with k, m or g, such as 64m", text)
	}
	return n << shift, nil
}
