package figure

import (
	"math"
	"slices"
	"time"
)

// Median is the middle sample, or the mean of the two in the middle; NaN of none.
func Median(samples []float64) float64 { return Quantile(samples, 0.5) }

// Quantile is the value below which the share q of the samples lies; between two samples it goes in a straight line.
// NaN of none.
func Quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	at := min(max(q, 0), 1) * float64(len(sorted)-1)
	low := int(at)
	if low == len(sorted)-1 {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// Milliseconds turns times into samples.
func Milliseconds(times []time.Duration) []float64 {
	out := make([]float64, len(times))
	for i, t := range times {
		out[i] = float64(t) / float64(time.Millisecond)
	}
	return out
}
