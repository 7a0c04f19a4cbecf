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
type keysList struct {
	databaseSettings
	logSettings
}

func (c *keysList) faults() error {
	return errors.Join(c.logSettings.faults(), c.databaseFaults())
}

func (c *keysList) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	database, err := c.database()
	if err != nil {
		return err
	}
	all, err := operator.ListSigningKeys(ctx, database, log)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KID\tALGORITHM\tSTATE\tCREATED\tSIGNS FROM\tLEAVES AT") // Flush tells what fails.
	for _, key := range all {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", key.ID, key.Algorithm, key.State,
			when(key.CreateTime), when(key.ActivateTime), when(key.LeaveTime))
	}
	return table.Flush()
}

// when writes a time for operators: UTC, to the second. The zero time is not known yet.
func when(t time.Time) string {
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
}

func (c *keysSettings) config(algorithm string) (operator.KeysConfig, error) {
	database, databaseErr := c.database()
	masterKey, masterKeyErr := c.masterKey()
	if masterKey == nil && masterKeyErr == nil {
		masterKeyErr = errNoMasterKey
	}
	second, secondErr := c.secondMasterKey()
	return operator.KeysConfig{
		Database: database, MasterKey: masterKey, SecondMasterKey: second, SigningAlgorithm: algorithm,
	}, errors.Join(databaseErr, masterKeyErr, secondErr)
}

func (c *keysSettings) keysFaults(algorithm string) error {
	config, err := c.config(algorithm)
	if config.MasterKey == nil { // It is named already; a stand-in keeps Validate from naming it again.
		config.MasterKey = make([]byte, storeconfig.MasterKeySize)
	}
	if config.Database.URL == "" {
		config.Database.URL = "sqlite:missing"
	}
	return errors.Join(c.faults(), err, config.Validate())
}

// keysRotate makes the next key.
type keysRotate struct {
	keysSettings
	algorithmSettings
}

func (c *keysRotate) faults() error { return c.keysFaults(c.SigningAlgorithm) }

func (c *keysRotate) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	config, err := c.config(c.SigningAlgorithm)
	if err != nil {
		return err
	}
	key, made, err := operator.RotateSigningKey(ctx, config, log)
	if err != nil {
		return err
	}
	if made {
		_, err = fmt.Fprintf(stdout, "Made signing key %s (%s). It is published now, and signs from %s.\n",
			key.ID, key.Algorithm, when(key.ActivateTime))
	} else {
		_, err = fmt.Fprintf(stdout, "No key was made: signing key %s (%s) is pending already, and signs from %s.\n",
			key.ID, key.Algorithm, when(key.ActivateTime))
	}
	return err
}

// keysRevoke deletes a key.
type keysRevoke struct {
	KeyID string `arg:"" name:"kid" help:"The key's id, as keys list and the header kid of a token tell it. After -- if it begins with a dash."`
	keysSettings
	algorithmSettings
}

func (c *keysRevoke) faults() error { return c.keysFaults(c.SigningAlgorithm) }

func (c *keysRevoke) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	config, err := c.config(c.SigningAlgorithm)
	if err != nil {
		return err
	}
	successor, err := operator.RevokeSigningKey(ctx, config, c.KeyID, log)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("Revoked signing key %s: it is deleted, and published no more.\n"+
		"Gatehouse's own services refuse its tokens within 7 s. Other verifiers do once they load the keys anew: after\n"+
		"300 s at most, if they keep to the max-age that the keys are published with.\n", c.KeyID)
	if successor != nil {
		text += fmt.Sprintf("Signing key %s (%s) was made in its place, and signs from %s.\n"+
			"Running stores know of the change within 5 s.\n",
			successor.ID, successor.Algorithm, when(successor.ActivateTime))
	}
	_, err = io.WriteString(stdout, text)
	return err
}

// keysRewrap seals the private keys anew.
type keysRewrap struct {
	keysSettings
}

func (c *keysRewrap) faults() error {
	err := c.keysFaults("")
	if c.SecondMasterKey == "" && c.SecondMasterKeyFile == "" {
		err = errors.Join(err, errors.New("the second master key is missing: it is the one that the private keys were "+
			"sealed with, given as GATEHOUSE_SECOND_MASTER_KEY or in a file named by GATEHOUSE_SECOND_MASTER_KEY_FILE"))
	}
	return err
}

func (c *keysRewrap) run(ctx context.Context, log *slog.Logger, stdout io.Writer) error {
	config, err := c.config("")
	if err != nil {
		return err
	}
	changed, err := operator.RewrapSigningKeys(ctx, config, log)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "Sealed %d private keys with the master key that the second one had sealed.\n"+
		"The master key opens all of them now: they no longer need the second one.\n", changed)
	return err
}
