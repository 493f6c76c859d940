package ledger

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/rolling-swarm/rolling/ipam-driver/pool"
)

// Memory is a ledger without a disk: for tests of others, and for the conformance suite that the file passes too.
type Memory struct {
	mu     sync.Mutex // guards all below
	meta   pool.Meta
	plan   *pool.PlanRecord
	shares map[uint32]pool.ShareRecord
	leases map[memoryKey]pool.LeaseRecord
	queue  []pool.Change
	broken error
}

type memoryKey struct {
	pool string
	addr netip.Addr
}

// NewMemory is an empty ledger.
func NewMemory() *Memory {
	return &Memory{shares: map[uint32]pool.ShareRecord{}, leases: map[memoryKey]pool.LeaseRecord{}}
}

// Break lets every transaction fail from now on; nil mends it.
func (m *Memory) Break(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = err
}

// Add queues a change, see File.Add.
func (m *Memory) Add(c pool.Change) (wait func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue = append(m.queue, c)
	return m.flush
}

func (m *Memory) flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return errors.Join(errors.New("keep a decision in memory"), m.broken)
	}
	for _, c := range m.queue {
		m.keep(c)
	}
	m.queue = nil
	return nil
}

func (m *Memory) keep(c pool.Change) {
	if c.Meta != nil {
		m.meta = *c.Meta
	}
	if c.Plan != nil {
		m.plan = c.Plan
	}
	for _, s := range c.Shares {
		m.shares[s.ID] = s
	}
	for _, id := range c.GoneShares {
		delete(m.shares, id)
	}
	for _, l := range c.Leases {
		m.leases[memoryKey{l.Pool, l.Addr}] = l
	}
	for _, l := range c.GoneLeases {
		delete(m.leases, memoryKey{l.Pool, l.Addr})
	}
}

// Records are what a restart would find: nothing that was not waited for.
func (m *Memory) Records() pool.Records {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := pool.Records{Meta: m.meta, Plan: m.plan}
	for _, s := range m.shares {
		r.Shares = append(r.Shares, s)
	}
	for _, l := range m.leases {
		r.Leases = append(r.Leases, l)
	}
	return r
}

// Owed is how many decisions a failed transaction left.
func (m *Memory) Owed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken == nil {
		return 0
	}
	return len(m.queue)
}

// Size is nothing: there is no file.
func (m *Memory) Size() int64 { return 0 }

// Close keeps what is queued.
func (m *Memory) Close() error { return m.flush() }
