package signing

import (
	"context"
	"errors"
	"time"
)

const (
	// upkeepInterval is how often a store loads the keys. A key that was revoked signs for as long as this at most; a
	// new one is known long before it signs.
	upkeepInterval = 5 * time.Second
	// upkeepTimeout bounds one pass.
	upkeepTimeout = 30 * time.Second
)

// Run maintains the keys until ctx is done. A pass that fails is logged, once until one succeeds, and the keys that
// were loaded last continue to sign.
func (k *Keyring) Run(ctx context.Context) {
	ticker := time.NewTicker(upkeepInterval)
	defer ticker.Stop()
	failing := false
	for {
		err := k.maintainOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			k.log.WarnContext(ctx, "the signing keys cannot be maintained: those known last go on signing", "error", err)
		case err == nil && failing:
			k.log.InfoContext(ctx, "the signing keys are maintained again")
		}
		failing = err != nil
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (k *Keyring) maintainOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, upkeepTimeout)
	defer cancel()
	return k.Maintain(ctx)
}

// Maintain loads the keys, makes the next if it is time, and deletes those that are gone. Any number of stores may do
// so at once: one of them makes the key.
func (k *Keyring) Maintain(ctx context.Context) error {
	k.upkeep.Lock()
	defer k.upkeep.Unlock()
	if err := k.load(ctx); err != nil {
		return err
	}
	if due, generation := k.rotationDue(); due {
		if err := k.add(ctx, generation, publishLead); err != nil {
			return err
		}
	}
	return k.deleteExpired(ctx)
}

// rotationDue reports whether the next key must be published now to be on time, and its generation. A store that cannot
// open the newest key was left behind when the master key was changed: what it would seal, others could not open. It
// leaves the rotation to them.
func (k *Keyring) rotationDue() (due bool, generation int64) {
	loaded := k.loaded.Load()
	if len(loaded.rows) == 0 || loaded.private[loaded.rows[0].KeyID] == nil {
		return false, 0
	}
	newest := loaded.rows[0]
	publish := newest.ActivateTime.Add(k.config.RotationInterval - publishLead)
	return !publish.After(k.config.Now()), newest.Generation + 1
}

func (k *Keyring) deleteExpired(ctx context.Context) error {
	rows, found := k.loaded.Load().rows, false
	var errs []error
	for i, status := range Statuses(rows, k.config.Now()) {
		if status.State != Expired {
			continue
		}
		found = true
		deleted, err := k.store.DeleteSigningKey(ctx, rows[i].KeyID)
		errs = append(errs, err)
		if deleted {
			k.log.InfoContext(ctx, "deleted a signing key: every token that it signed has expired", "kid", rows[i].KeyID)
		}
	}
	if found {
		errs = append(errs, k.load(ctx)) // Their private halves leave the memory as well.
	}
	return errors.Join(errs...)
}
