"""Which of two sentences that differ in one point of grammar does a pre-trained net find the likelier?"""
