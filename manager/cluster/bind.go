package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"
)

// bind gives a copy of a service in which networks, configs and secrets have their ids beside or in place of the names.
func (s *Swarm) bind(ctx context.Context, named swarm.ServiceSpec) (swarm.ServiceSpec, error) {
	var bound swarm.ServiceSpec
	b, err := json.Marshal(named)
	if err == nil {
		err = json.Unmarshal(b, &bound)
	}
	if err != nil {
		return bound, fmt.Errorf("copy its spec: %w", err)
	}
	if err := s.bindNetworks(ctx, bound.TaskTemplate.Networks); err != nil {
		return bound, err
	}
	c := bound.TaskTemplate.ContainerSpec
	if c == nil {
		return bound, nil
	}
	if err := s.bindConfigs(ctx, c.Configs); err != nil {
		return bound, err
	}
	return bound, s.bindSecrets(ctx, c.Secrets)
}

func (s *Swarm) bindNetworks(ctx context.Context, all []swarm.NetworkAttachmentConfig) error {
	if len(all) == 0 {
		return nil
	}
	got, err := s.api.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return asked(err, "networks")
	}
	// The networks of this engine alone (bridge, host, none) come first: one of the Swarm wins over one of that name.
	ids := map[string]string{}
	for _, scope := range []bool{false, true} {
		for _, n := range got.Items {
			if (n.Scope == "swarm") == scope {
				ids[n.Name], ids[n.ID] = n.ID, n.ID
			}
		}
	}
	for i := range all {
		id, ok := ids[all[i].Target]
		if !ok {
			return fmt.Errorf("network %s: %w", all[i].Target, errUnbound)
		}
		all[i].Target = id
	}
	return nil
}

func (s *Swarm) bindConfigs(ctx context.Context, all []*swarm.ConfigReference) error {
	if len(all) == 0 {
		return nil
	}
	got, err := s.api.ConfigList(ctx, client.ConfigListOptions{})
	if err != nil {
		return asked(err, "configs")
	}
	ids := map[string]string{}
	for _, c := range got.Items {
		ids[c.Spec.Name] = c.ID
	}
	for _, ref := range all {
		if ref.ConfigID = ids[ref.ConfigName]; ref.ConfigID == "" {
			return fmt.Errorf("config %s: %w", ref.ConfigName, errUnbound)
		}
	}
	return nil
}

func (s *Swarm) bindSecrets(ctx context.Context, all []*swarm.SecretReference) error {
	if len(all) == 0 {
		return nil
	}
	got, err := s.api.SecretList(ctx, client.SecretListOptions{})
	if err != nil {
		return asked(err, "secrets")
	}
	ids := map[string]string{}
	for _, c := range got.Items {
		ids[c.Spec.Name] = c.ID
	}
	for _, ref := range all {
		if ref.SecretID = ids[ref.SecretName]; ref.SecretID == "" {
			return fmt.Errorf("secret %s: %w", ref.SecretName, errUnbound)
		}
	}
	return nil
}
