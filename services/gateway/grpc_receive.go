package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// prefixSize is the size of what stands before each message of gRPC: a byte that tells whether the message is
// compressed, and its length.
const prefixSize = 5

// messageReader is what the transport streams of grpc-go have beyond grpc.ServerTransportStream. The gateway reads
// messages by it and not by grpc.ServerStream.RecvMsg, which reads as much as the one limit of the server allows before
// anybody can reserve room for it, and which itself answers a message that it cannot read, without a reason.
type messageReader interface {
	ReadMessageHeader(header []byte) error
	Read(n int) (mem.BufferSlice, error)
}

// receiver receives the message of the call whose context it is made with.
type receiver struct {
	stream      messageReader
	maxSize     int64 // in bytes
	budget      *requestBudget
	reservation *reservation
}

func newReceiver(
	ctx context.Context, maxSize int64, budget *requestBudget, reservation *reservation,
) (*receiver, error) {
	reader, ok := grpc.ServerTransportStreamFromContext(ctx).(messageReader)
	if !ok {
		return nil, apierr.Internal(errors.New("the transport of grpc-go has no way to read a part of a message"))
	}
	return &receiver{reader, maxSize, budget, reservation}, nil
}

// receive reads the message of the call. Like the body of a REST request it must be here within readTimeout, and past
// slowAfter it needs a slot. When receive gives up and the call ends, the read that is still waiting ends with it.
func (r *receiver) receive() (frame, error) {
	if err := r.reservation.reserve(initialReservation); err != nil {
		return nil, err
	}
	var message frame
	received := make(chan error, 1)
	go func() {
		var err error
		message, err = r.read()
		received <- err
	}()
	if err := r.await(received); err != nil {
		return nil, err
	}
	return message, nil
}

func (r *receiver) await(received <-chan error) error {
	slow := time.NewTimer(slowAfter)
	defer slow.Stop()
	select {
	case err := <-received:
		return err
	case <-slow.C:
	}
	release, err := r.budget.acquireSlowSlot(r.reservation.client)
	if err != nil {
		return err
	}
	defer release()
	late := time.NewTimer(readTimeout - slowAfter)
	defer late.Stop()
	select {
	case err := <-received:
		return err
	case <-late.C:
		return apierr.DeadlineExceeded(fmt.Errorf("no message within %v", readTimeout))
	}
}

// read reserves the length of the message before it reads it.
func (r *receiver) read() (_ frame, err error) {
	defer grpcx.Recover(&err) // It runs in a goroutine of its own.
	var prefix [prefixSize]byte
	if err := r.stream.ReadMessageHeader(prefix[:]); err != nil {
		return nil, receiveError(err)
	}
	if prefix[0] != 0 {
		return nil, apierr.MalformedRequest("compressed messages are not supported", nil)
	}
	length := int64(binary.BigEndian.Uint32(prefix[1:]))
	if err := checkRequestSize(length, r.maxSize); err != nil {
		return nil, err
	}
	if err := r.reservation.reserve(length); err != nil {
		return nil, err
	}
	message, err := r.stream.Read(int(length))
	if err != nil {
		return nil, receiveError(err)
	}
	defer message.Free()
	return message.Materialize(), nil
}

// receiveError distinguishes a call that ends before its message does from one that is broken off.
func receiveError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return apierr.MalformedRequest("the call has no valid message", err)
	}
	return err
}
