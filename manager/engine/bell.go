package engine

import "sync"

// bell wakes all who wait for news. It carries none: whoever is woken looks for himself, so nothing can be lost.
type bell struct {
	mu   sync.Mutex    // guards next
	next chan struct{} // closed at the next ring; nil while nobody waits
}

// ring wakes everybody.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next != nil {
		close(b.next)
		b.next = nil
	}
}

// wait gives a channel that is closed at the next ring. Take it before looking, so that no news falls in between.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == nil {
		b.next = make(chan struct{})
	}
	return b.next
}
