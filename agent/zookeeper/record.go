package zookeeper

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rolling-swarm/rolling/agent/member"
)

// markKey is the metadata that makes a node ours: its value names the Swarm.
const markKey = "rolling.swarm"

// memberPrefix begins the name of each member; finagle's readers keep only such children.
const memberPrefix = "member_"

// record is a member as finagle reads it. Its readers want additionalEndpoints to be there, port and shard to be JSON
// integers, and take only the status ALIVE; a changed status would not be noticed, so a member that leaves is deleted.
type record struct {
	ServiceEndpoint     endpoint            `json:"serviceEndpoint"`
	AdditionalEndpoints map[string]endpoint `json:"additionalEndpoints"`
	Status              string              `json:"status"`
	Shard               *int                `json:"shard,omitempty"`
	Metadata            map[string]string   `json:"metadata,omitempty"`
}

type endpoint struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
}

func encode(i member.Instance, swarm string) (string, error) {
	metadata := maps.Clone(i.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata[markKey] = swarm
	text, err := json.Marshal(record{
		ServiceEndpoint: endpoint{i.Host, i.Port}, AdditionalEndpoints: map[string]endpoint{},
		Status: "ALIVE", Shard: i.Shard, Metadata: metadata,
	})
	if err != nil {
		return "", fmt.Errorf("encode the member %s:%d: %w", i.Host, i.Port, err)
	}
	return string(text), nil
}

// ours says whether a node was made for this Swarm. What cannot be read is somebody else's.
func ours(data, swarm string) bool {
	var r record
	return json.Unmarshal([]byte(data), &r) == nil && r.Metadata[markKey] == swarm
}

// difference compares the nodes of a ServerSet, by name, with the records wanted: what to create and what to delete.
// Of two nodes with the same record (a reply was lost, and the node created again) the older one stays.
func difference(have map[string]string, want []string, swarm string) (create, remove []string) {
	missing := map[string]int{}
	for _, w := range want {
		missing[w]++
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		switch data := have[name]; {
		case !strings.HasPrefix(name, memberPrefix) || !ours(data, swarm):
		case missing[data] > 0:
			missing[data]--
		default:
			remove = append(remove, name)
		}
	}
	for _, w := range want {
		if missing[w] > 0 {
			missing[w]--
			create = append(create, w)
		}
	}
	return create, remove
}
