package sample

import "time"

// A Point is one figure at one moment, as Graphite has it.
type Point struct {
	Path  string
	Value float64
	At    int64 // seconds since 1970
}

// A Sight is how the engine was seen last.
type Sight struct {
	Node  string    `json:"node"`
	At    time.Time `json:"at"` // of the last whole list
	Error string    `json:"error,omitempty"`
}

// A Delivery is how the sending of points stands.
type Delivery struct {
	Address   string `json:"address"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"` // why it is not, or was not the last time
	Waiting   int64  `json:"waiting"`
	Kept      int64  `json:"kept"` // in memory, those that were sent too
	Sent      uint64 `json:"sent"`
	Resent    uint64 `json:"resent"` // written again after a connection broke; Sent counts them once more
	Dropped   uint64 `json:"dropped"`
	Dials     uint64 `json:"dials"`
}
