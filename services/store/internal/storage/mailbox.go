package storage

import (
	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// mailbox is what a row of users has of its address.
type mailbox struct {
	Email          string
	CanonicalEmail string
}

// emailKeys returns the values of canonical_email that rows of an address may have. Other addresses may have some of
// them: pickMailbox tells which row is meant.
//
// A row may have a value of before 00012, which compared addresses in another way: a store of the version before has
// written it since, or another user has the same address.
func emailKeys(address string) []string {
	return append([]string{emailaddr.Canonical(address)}, emailaddr.FormerKeys(address)...)
}

// pickMailbox returns the place of the row that an address means among those with one of its keys, or -1 if it is none
// of them. Of two users with one address each is found by the spelling by which it was found before 00012.
func pickMailbox(rows []mailbox, address string) int {
	canonical, former := emailaddr.Canonical(address), emailaddr.Legacy(address)
	picked, pickedRank := -1, 0
	for i, row := range rows {
		if emailaddr.Canonical(row.Email) != canonical {
			continue // Two addresses that were one before 00012.
		}
		rank := 1
		switch row.CanonicalEmail {
		case former:
			rank = 3
		case canonical:
			rank = 2
		}
		if rank > pickedRank {
			picked, pickedRank = i, rank
		}
	}
	return picked
}

// checkEmailFree fails with ErrEmailTaken if a user has an address.
func checkEmailFree(tx *gorm.DB, address string) error {
	var rows []mailbox
	err := tx.Raw("SELECT email, canonical_email FROM users WHERE canonical_email IN ?", emailKeys(address)).
		Scan(&rows).Error
	if err == nil && pickMailbox(rows, address) >= 0 {
		return ErrEmailTaken
	}
	return err
}
