// Package figure is what a benchmark says: one measured number beside its peer's, as a line of JSON and as a line of a
// table, and the statistics that lead to it. It knows how to compare two rows of samples that were taken in turns.
// It refuses to know where samples come from: no clock, no file, no lab.
package figure

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// A Figure is one number and what it is compared with. Without a peer, Peer and Ratio are nil.
type Figure struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit"`
	Ours     float64  `json:"ours"`
	Peer     *float64 `json:"peer"`
	PeerName string   `json:"peer_name"`
	Ratio    *float64 `json:"ratio"` // ours ÷ peer; of samples in turns: the median of the rounds' ratios
	Runs     int      `json:"runs"`
	Note     string   `json:"note"`
}

// Alone is a figure without a peer.
func Alone(name, unit string, ours float64, runs int, note string) Figure {
	return Figure{Name: name, Unit: unit, Ours: ours, Runs: runs, Note: note}
}

// Beside compares two numbers of one run.
func Beside(name, unit string, ours float64, peerName string, peer float64, runs int, note string) Figure {
	f := Alone(name, unit, ours, runs, note)
	ratio := ours / peer
	f.PeerName, f.Peer, f.Ratio = peerName, &peer, &ratio
	return f
}

// Paired compares samples that were taken in turns, round by round, so that a noisy machine hits both alike: its
// ratio is the median of the rounds' ratios, and the note ends with their quartiles.
func Paired(name, unit string, ours []float64, peerName string, peer []float64, note string) (Figure, error) {
	if len(ours) != len(peer) || len(ours) == 0 {
		return Figure{}, fmt.Errorf("figure %s: %d samples of ours and %d of %s: want a pair a round", name, len(ours), len(peer), peerName)
	}
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / peer[i]
	}
	f := Beside(name, unit, Median(ours), peerName, Median(peer), len(ours), note)
	middle := Median(ratios)
	f.Ratio = &middle
	if len(ratios) > 1 {
		f.Note = joinNotes(note, fmt.Sprintf("ratio a round, quartiles %.2f-%.2f", Quantile(ratios, 0.25), Quantile(ratios, 0.75)))
	}
	return f, nil
}

// Spread is the median of samples without a peer; its note ends with the quartiles, the smallest and the largest.
func Spread(name, unit string, samples []float64, note string) (Figure, error) {
	if len(samples) == 0 {
		return Figure{}, fmt.Errorf("figure %s: no sample", name)
	}
	if len(samples) > 1 {
		note = joinNotes(note, fmt.Sprintf("median; quartiles %s-%s, least %s, most %s",
			short(Quantile(samples, 0.25)), short(Quantile(samples, 0.75)), short(Quantile(samples, 0)), short(Quantile(samples, 1))))
	}
	return Alone(name, unit, Median(samples), len(samples), note), nil
}

func joinNotes(notes ...string) string {
	var said []string
	for _, n := range notes {
		if n != "" {
			said = append(said, n)
		}
	}
	return strings.Join(said, "; ")
}

// Check refuses what no reader of the lines could use.
func (f Figure) Check() error {
	if f.Name == "" || f.Unit == "" || f.Runs < 1 {
		return fmt.Errorf("figure %q in %q of %d runs: want a name, a unit and at least one run", f.Name, f.Unit, f.Runs)
	}
	if (f.Peer == nil) != (f.Ratio == nil) || (f.Peer == nil) != (f.PeerName == "") {
		return fmt.Errorf("figure %s: peer, its name and the ratio belong together", f.Name)
	}
	for _, v := range []*float64{&f.Ours, f.Peer, f.Ratio} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0)) {
			return fmt.Errorf("figure %s: %v is not a number that was measured", f.Name, *v)
		}
	}
	return nil
}

// WriteLines writes one JSON object a line.
func WriteLines(to io.Writer, figures []Figure) error {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	for _, f := range figures {
		if err := f.Check(); err != nil {
			return err
		}
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("write figure %s: %w", f.Name, err)
		}
	}
	return nil
}

// WriteTable writes the same for people.
func WriteTable(to io.Writer, figures []Figure) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "figure\tours\tpeer\tunit\tratio\truns\tpeer is\tnote")
	for _, f := range figures {
		peer, ratio := "-", "-"
		if f.Peer != nil && f.Ratio != nil {
			peer, ratio = short(*f.Peer), fmt.Sprintf("%.3f", *f.Ratio)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", f.Name, short(f.Ours), peer, f.Unit, ratio, f.Runs, f.PeerName, f.Note)
	}
	return w.Flush() // tells of earlier errors too
}

// short keeps four digits that mean something.
func short(v float64) string {
	if math.Abs(v) >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
