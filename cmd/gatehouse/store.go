package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"

	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// store runs the store service on MySQL or MariaDB.
type store struct {
	Listen string `default:"localhost:9092" help:"Address to serve gRPC on, for gateways and caches, in clear. :9092 is every address of the machine."`
	databaseSettings
	masterKeySettings
	serviceSettings
	secondServiceSettings
	storeSettings
	logSettings

	config storeconfig.Config // set by resolve
}

func (c *store) resolve(problems *errorCollector) {
	c.logSettings.resolve(problems)
	problems.add(checkListen("--listen", c.Listen))
	c.config = c.storeConfig(problems)
	c.config.Database = c.database(problems)
	c.config.MasterKey, c.config.SecondMasterKey = c.requiredMasterKeys(problems)
	c.config.ServiceToken, c.config.SecondServiceToken = c.serviceToken(problems), c.secondServiceToken(problems)
}

func (c *store) run(ctx context.Context, log *slog.Logger, _ io.Writer) error {
	cores, undo := reserveCores()
	defer undo()
	c.config.HashingCores = cores
	service, err := storeservice.New(ctx, c.config, log.With("service", "store"))
	if errors.Is(err, context.Canceled) {
		return nil // It was told to stop while it waited for the database.
	}
	if err != nil {
		return err
	}
	var listeners listeners
	listener := listeners.open(ctx, c.Listen, "--listen") // Not before the service can serve.
	if listeners.err != nil {
		return listeners.err
	}
	return service.Run(ctx, listener)
}

// reserveCores doubles GOMAXPROCS until undo, and returns how many cores there are: as many passwords may be hashed at
// a time. A hash does not yield for 10 ms and more. If hashes occupied all of Go's Ps, every other call would wait for
// one as long; with twice as many, the system's scheduler shares the cores, and prefers threads that have used little.
// On two cores with two hashes running, doubling took the median of an HTTP request from 35 ms to 0.2 ms.
func reserveCores() (cores int, undo func()) {
	cores = runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	return cores, func() { runtime.GOMAXPROCS(cores) }
}
