package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/moby/api/types/swarm"
	"github.com/rolling-swarm/rolling/internal/contract"
	"github.com/rolling-swarm/rolling/manager/project"
)

// configs makes the configs that a service uses, and lists the external ones.
func (b *builder) configs() (made []swarm.ConfigSpec, external []string) {
	used := map[string]bool{}
	for _, s := range b.env.Model.Services {
		for _, ref := range s.Configs {
			used[ref.Source] = true
		}
	}
	for key := range sorted(used) {
		c := types.FileObjectConfig(b.env.Model.Configs[key])
		if c.External {
			external = append(external, externalName(key, c.Name))
			continue
		}
		made = append(made, swarm.ConfigSpec{
			Annotations: swarm.Annotations{Name: b.objectName(key, c), Labels: b.objectLabels(key, c)},
			Data:        []byte(c.Content),
			Templating:  driverNamed(c.TemplateDriver),
		})
	}
	return made, external
}

// secrets is configs for secrets. Swarm never shows a secret again, so its name alone says what it holds.
func (b *builder) secrets() (made []swarm.SecretSpec, external []string) {
	used := map[string]bool{}
	for _, s := range b.env.Model.Services {
		for _, ref := range s.Secrets {
			used[ref.Source] = true
		}
	}
	for key := range sorted(used) {
		c := types.FileObjectConfig(b.env.Model.Secrets[key])
		if c.External {
			external = append(external, externalName(key, c.Name))
			continue
		}
		secret := swarm.SecretSpec{
			Annotations: swarm.Annotations{Name: b.objectName(key, c), Labels: b.objectLabels(key, c)},
			Driver:      driverNamed(c.Driver),
			Templating:  driverNamed(c.TemplateDriver),
		}
		if c.Driver == "" { // a driver brings the value by itself, and Swarm refuses both
			secret.Data = []byte(c.Content)
		}
		made = append(made, secret)
	}
	return made, external
}

func driverNamed(name string) *swarm.Driver {
	if name == "" {
		return nil
	}
	return &swarm.Driver{Name: name}
}

func (b *builder) objectLabels(key string, c types.FileObjectConfig) map[string]string {
	labels := b.labels(c.Labels)
	labels[contract.Spec] = b.hash(key, c)
	return labels
}

// objectName ends in a hash of all that makes the object, since Swarm changes neither configs nor secrets: new content
// is a new object under a new name, and the old one stays for the way back. The hash of a secret that can be guessed can
// be guessed too: whoever lists secrets may test a guess.
func (b *builder) objectName(key string, c types.FileObjectConfig) string {
	return b.full(key) + "-" + b.hash(key, c)
}

func (b *builder) hash(key string, c types.FileObjectConfig) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", b.full(key), c.Content, c.Driver, c.TemplateDriver, c.Name)
	for name, v := range sorted(c.Labels) {
		fmt.Fprintf(h, " %q %q", name, v)
	}
	return hex.EncodeToString(h.Sum(nil))[:project.HashLength]
}

// set writes a file mode as whatever type the destination has.
func set[T ~uint32](mode *T, given *types.FileMode) {
	*mode = 0o444
	if given != nil {
		*mode = T(*given)
	}
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func (b *builder) configRefs(s types.ServiceConfig) []*swarm.ConfigReference {
	var refs []*swarm.ConfigReference
	for _, ref := range s.Configs {
		c := types.FileObjectConfig(b.env.Model.Configs[ref.Source])
		name := externalName(ref.Source, c.Name)
		if !c.External {
			name = b.objectName(ref.Source, c)
		}
		file := &swarm.ConfigReferenceFileTarget{Name: orElse(ref.Target, ref.Source), UID: orElse(ref.UID, "0"), GID: orElse(ref.GID, "0")}
		set(&file.Mode, ref.Mode)
		refs = append(refs, &swarm.ConfigReference{File: file, ConfigName: name})
	}
	slices.SortStableFunc(refs, func(a, b *swarm.ConfigReference) int { return cmp.Compare(a.File.Name, b.File.Name) })
	return refs
}

// secretFolder is where Swarm puts a secret whose target is a bare name.
const secretFolder = "/run/secrets/"

func (b *builder) secretRefs(s types.ServiceConfig) []*swarm.SecretReference {
	var refs []*swarm.SecretReference
	for _, ref := range s.Secrets {
		c := types.FileObjectConfig(b.env.Model.Secrets[ref.Source])
		name := externalName(ref.Source, c.Name)
		if !c.External {
			name = b.objectName(ref.Source, c)
		}
		path := strings.TrimPrefix(orElse(ref.Target, ref.Source), secretFolder)
		file := &swarm.SecretReferenceFileTarget{Name: path, UID: orElse(ref.UID, "0"), GID: orElse(ref.GID, "0")}
		set(&file.Mode, ref.Mode)
		refs = append(refs, &swarm.SecretReference{File: file, SecretName: name})
	}
	slices.SortStableFunc(refs, func(a, b *swarm.SecretReference) int { return cmp.Compare(a.File.Name, b.File.Name) })
	return refs
}
