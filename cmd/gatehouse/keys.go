package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
)

// keys are the commands for signing keys. They work on the store's database, beside the stores that run on it.
type keys struct {
	List   keysList   `cmd:"" help:"List the signing keys, the newest first."`
	Rotate keysRotate `cmd:"" help:"Make the next signing key now. It is published at once, and signs 10 minutes later."`
	Revoke keysRevoke `cmd:"" help:"Delete a signing key at once: every token that it signed is refused. If it was the one that signs, another is made."`
	Rewrap keysRewrap `cmd:"" help:"Seal every private key with the master key that only the second one opens."`
}

// keysList shows the keys.
type keysList struct{ databaseCommand }

func (c *keysList) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	all, err := operator.ListSigningKeys(ctx, c.config, log)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM\tLEAVES AT") // Flush returns errors.
	for _, key := range all {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Algorithm, key.State,
			formatTime(key.CreateTime), formatTime(key.ActivateTime), formatTime(key.LeaveTime))
	}
	return table.Flush()
}

// formatTime formats a time for operators: UTC, to the second. The zero time is not known yet.
func formatTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// keysSettings are those of the commands that change keys.
type keysSettings struct {
	databaseSettings
	masterKeySettings
	logSettings

	config operator.KeysConfig // set by resolve
}

func (c *keysSettings) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	c.config.Database = c.database(problems)
	c.config.MasterKey, c.config.SecondMasterKey = c.requiredMasterKeys(problems)
}

// newKeySettings are those of the commands that may make a key.
type newKeySettings struct {
	keysSettings
	algorithmSettings
}

func (c *newKeySettings) resolve(problems *errorCollector) {
	c.keysSettings.resolve(problems)
	c.config.SigningAlgorithm = c.SigningAlgorithm
	problems.add(storeconfig.ValidateAlgorithm(c.SigningAlgorithm))
}

// keysRotate makes the next key.
type keysRotate struct{ newKeySettings }

func (c *keysRotate) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	key, made, err := operator.RotateSigningKey(ctx, c.config, log)
	if err != nil {
		return err
	}
	if made {
		_, err = fmt.Fprintf(stdout, "Made signing key %s (%s). It is published now, and signs from %s.\n",
			key.ID, key.Algorithm, formatTime(key.ActivateTime))
	} else {
		_, err = fmt.Fprintf(stdout, "No key was made: signing key %s (%s) is pending already, and signs from %s.\n",
			key.ID, key.Algorithm, formatTime(key.ActivateTime))
	}
	return err
}

// keysRevoke deletes a key.
type keysRevoke struct {
	KeyID string `arg:"" name:"kid" help:"The key's id, as keys list and the header kid of a token tell it. After -- if it begins with a dash."`
	newKeySettings
}

func (c *keysRevoke) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	successor, err := operator.RevokeSigningKey(ctx, c.config, c.KeyID, log)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Revoked signing key %s: it is deleted, and published no more.\n"+
		"Gatehouse's own services refuse its tokens within 7 s. Other verifiers do once they reload the keys: after\n"+
		"300 s at most, if they keep to the max-age that the keys are published with.\n", c.KeyID)
	if successor != nil {
		text += fmt.Sprintf("Signing key %s (%s) was made in its place, and signs from %s.\n"+
			"Running stores know of the change within 5 s.\n",
			successor.ID, successor.Algorithm, formatTime(successor.ActivateTime))
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// keysRewrap seals the private keys again.
type keysRewrap struct{ keysSettings }

func (c *keysRewrap) resolve(problems *errorCollector) {
	c.keysSettings.resolve(problems)
	if c.SecondMasterKey == "" && c.SecondMasterKeyFile == "" {
		problems.add(errors.New("the second master key is missing: it is the one that the private keys were " +
			"sealed with, given as GATEHOUSE_SECOND_MASTER_KEY or in a file named by GATEHOUSE_SECOND_MASTER_KEY_FILE"))
	}
}

func (c *keysRewrap) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	changed, err := operator.RewrapSigningKeys(ctx, c.config, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Sealed %d private keys with the master key that the second one had sealed.\n"+
		"The master key opens all of them now: they no longer need the second one.\n", changed)
	return err
}
